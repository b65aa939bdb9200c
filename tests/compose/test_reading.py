"""Projects are read as compose reads them, and what is not read is refused with file and line."""

from __future__ import annotations

import time
from typing import Any

import pytest

from remediator import compose
from remediator.compose.variables import Used, interpolate
from remediator.errors import InputError

HEAD = "services:\n  a:\n    image: x\n"


def load(text: str, **others: str) -> compose.Project:
    """A project of one file, and of others that it names."""
    return compose.load({"c.yml": text, **others}, ["c.yml"], ".", {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("services:\n  a: {image: x}\n---\nservices: {}\n", "c.yml:3: a second document"),
        (HEAD + "    image: y\n", "c.yml:4: the key 'image' is given twice, first in line 3"),
        ("x-a: &a {pid: host}\n" + HEAD + "    <<: *a\n    <<: *a\n", "c.yml:6: the key '<<' is given twice"),
        (HEAD + "    ports: !reset []\n", "c.yml:4: the tag !reset is not known here"),
        (HEAD + "    x: !!python/object:os.system {}\n", "c.yml:4: the tag !!python/object:os.system is not known"),
        (HEAD + "    {a: b}: c\n", "c.yml:4: a key that is no plain text"),
        (HEAD + "    cap_add: *gone\n", "c.yml:4: there is no anchor 'gone'"),
        ("a: &a\n  b: *a\n", "c.yml:2: the anchor 'a' would hold itself"),
        (HEAD + "    <<: 5\n", "c.yml:4: what is merged with << is no mapping"),
        (HEAD + "\tprivileged: true\n", "c.yml:4: not valid YAML"),
        ("services:\n  a: [unclosed\n", "c.yml:3: not valid YAML"),
        ("- a\n- b\n", "c.yml:1: no mapping, so no compose file"),
        ("just text\n", "c.yml:1: no mapping"),
        ("", "c.yml:1: no mapping"),
        ("# only a comment\n", "c.yml:1: no mapping"),
        ("services: [a]\n", "c.yml:1: 'services' is no mapping"),
        ("services:\n  a: text\n", "c.yml:2: the service a is no mapping"),
        ("services:\n  a:\n    extends: b\n", "c.yml:3: extends b, and there is no such service in c.yml"),
        ("services:\n  a: {extends: b}\n  b: {extends: a}\n", "extends itself"),
        ("services:\n  a:\n    extends: {file: d.yml}\n", "c.yml:3: 'extends' names no service"),
        ("include: [c.yml]\n", "c.yml: includes itself"),
        ("include: ['']\n", "c.yml:1: names no file"),
        ("include: ['$']\n", "c.yml:1: a $ that begins no variable"),
        ("services:\n  a: {image: x}\ninclude: [d.yml]\n", "c.yml:2: the service a is included as well"),
        ("services:\n  a: {image: x\x00}\n", "c.yml: not valid YAML"),
    ],
)
def test_what_is_not_read_is_refused_with_file_and_line(text: str, told: str) -> None:
    """The reader learns where to look."""
    with pytest.raises(InputError) as caught:
        load(text, **{"d.yml": "services: {a: {image: y}, z: {image: z}}\n"})
    assert told in str(caught.value)


def test_a_template_that_is_no_yaml_is_named_as_one() -> None:
    """Where braces break the syntax, the hint says so."""
    with pytest.raises(InputError) as caught:
        load("services:\n{% for a in b %}\n  {{ a }}: {}\n{% endfor %}\n")
    assert "template" in caught.value.hint


def laughs(kind: str) -> str:
    """Ten levels of anchors, each ten times the one before."""
    lines = ["x0: &a0 " + ("{k: v}" if kind == "map" else "[v]")]
    for level in range(1, 10):
        some = ", ".join([f"*a{level - 1}"] * 10)
        body = f"[{some}]" if kind == "seq" else f"{{<<: [{some}]}}"
        lines.append(f"x{level}: &a{level} {body}")
    return "\n".join(lines) + "\n" + HEAD


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (laughs("seq"), "aliases make this more than"),
        (laughs("map"), "aliases make this more than"),
        ("a: " + "[" * 100_000, "c.yml:1: not valid YAML: exceeded maximum nesting depth"),
        ("a: " + "{a: " * 50_000, "collections inside one another"),
        ("".join(f"{' ' * one}a:\n" for one in range(1500)), "collections inside one another"),
        (HEAD + "    x: " + "a" * 50_000_000, "larger than 2 MiB"),
        (HEAD + "    x: [" + "1, " * 400_000 + "]\n", "more than 100000 values"),
        ("services:\n  a:\n    image: '" + "${A:-" * 30_000 + "}" * 30_000 + "'\n", ""),
        ("services:\n" + "".join(f"  s{one}: {{extends: s{one + 1}}}\n" for one in range(3000)), "extend one another"),
    ],
    ids=["lists", "merges", "brackets", "braces", "blocks", "50 MB", "many", "variables", "extends"],
)
def test_hostile_files_are_refused_quickly(text: str, told: str) -> None:
    """Nothing that a file can hold keeps the program busy."""
    started = time.process_time()
    try:
        project = load(text)
        _, unknown = compose.document(project, "a")
        assert not told
        assert "/Config/Image" in unknown
    except InputError as error:
        assert told
        assert told in str(error)
    assert time.process_time() - started < 5


def test_the_end_of_line_and_a_mark_at_the_start_are_no_part_of_values() -> None:
    """CRLF, a byte order mark, and tabs where YAML takes them."""
    project = load("\ufeffservices:\r\n  a:\r\n    image: x\t# tab\r\n    pid:\thost\t\r\n")
    document, _ = compose.document(project, "a")
    assert (document["Config"]["Image"], document["HostConfig"]["PidMode"]) == ("x", "host")
    assert compose.located(project, "a", "/HostConfig/PidMode") == ("c.yml", 4)


def test_masked_secrets_are_no_aliases() -> None:
    """A file whose secrets were masked on their host can be read and edited."""
    text = HEAD + "    environment:\n      PASSWORD: ********\n    pid: host\n"
    document, _ = compose.document(load(text), "a")
    assert document["HostConfig"]["PidMode"] == "host"


@pytest.mark.parametrize(
    ("text", "filled", "missing"),
    [
        ("a$b", "a", ["b"]),
        ("${X}", "1", []),
        ("$X.$Y", "1.", []),
        ("$$X", "$X", []),
        ("${Y:-d}", "d", []),
        ("${Y-d}", "", []),
        ("${Z-d}", "d", []),
        ("${Z:-${X}-${Z:-q}}", "1-q", []),
        ("${X:+set}", "set", []),
        ("${Y:+set}", "", []),
        ("${Y+set}", "set", []),
        ("${Z:?no}", "", ["Z"]),
        ("${Y?no}", "", []),
        ("${Z:-}", "", []),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, filled: str, missing: list[str]) -> None:
    """X is 1, Y is empty, Z and the rest are not set."""
    used = Used()
    assert filled == interpolate(text, {"X": "1", "Y": ""}, used)
    assert missing == used.missing


@pytest.mark.parametrize("text", ["$", "${", "${}", "${1}", "${A", "${A!b}", "$-", "${A:}"])
def test_what_is_no_variable_is_refused(text: str) -> None:
    """Compose refuses these as well."""
    with pytest.raises(InputError):
        interpolate(text, {}, Used())


def test_an_environment_file_is_read_as_compose_does() -> None:
    """Quotes, comments, export, variables of the file and of the environment."""
    text = (
        "\ufeff# first\nA=1\nexport B = two words # c\nC='$A # no'\nD=\"x\\n${A}\"\nE=${A}${HOST}\nF=\n"
        'no assignment\nG="over\nlines"\nH=a#b\n  I=3\n'
    )
    assert compose.env_file(text, {"HOST": "h"}) == {
        "A": "1", "B": "two words", "C": "$A # no", "D": "x\n1", "E": "1h", "F": "", "G": "over\nlines",
        "H": "a#b", "I": "3",
    }  # fmt: skip


def test_the_environment_wins_over_its_file() -> None:
    """As with compose itself."""
    texts = {"c.yml": "services: {a: {image: 'x:${TAG}'}}\n", ".env": "TAG=file\n"}
    for variables, tag in (({}, "file"), ({"TAG": "shell"}, "shell")):
        project = compose.load(texts, ["c.yml"], ".", variables)
        assert compose.document(project, "a")[0]["Config"]["Image"] == f"x:{tag}"


def test_files_that_are_not_at_hand_are_told() -> None:
    """So that a caller can read them and load anew."""
    project = load("include: [b/d.yml]\nservices: {a: {extends: {file: e.yml, service: q}}}\n")
    assert list(project.missing) == [".env", "e.yml", "b/.env", "b/d.yml"]
    assert list(project.notes)[:1] == ["c.yml:2: extends a service of e.yml, which is not at hand"]
    assert "b/d.yml" in project.notes[1]


def test_layers_stand_in_the_order_of_their_strength() -> None:
    """What is extended, the file, the file that overrides it; places are those of the strongest."""
    texts = {
        "a.yml": "services:\n  base: {image: x, pid: host, mem_limit: 1g}\n  web: {extends: base, mem_limit: 2g}\n",
        "b.yml": "services:\n  web:\n    mem_limit: 3g\n",
    }
    project = compose.load(texts, ["a.yml", "b.yml"], ".", {})
    document, _ = compose.document(project, "web")
    assert (document["HostConfig"]["Memory"], document["HostConfig"]["PidMode"]) == (3 * 2**30, "host")
    assert compose.located(project, "web", "/HostConfig/Memory") == ("b.yml", 3)
    assert compose.located(project, "web", "/HostConfig/PidMode") == ("a.yml", 2)
    assert compose.located(project, "web", "/HostConfig/Privileged") == ("a.yml", 3)


@pytest.mark.parametrize(
    ("setting", "pointer", "value"),
    [
        ("privileged: 'on'", "/HostConfig/Privileged", True),
        ("mem_limit: 1.5g", "/HostConfig/Memory", 1610612736),
        ("memswap_limit: -1", "/HostConfig/MemorySwap", -1),
        ("pids_limit: 0x10", "/HostConfig/PidsLimit", 16),
        ("restart: on-failure", "/HostConfig/RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 0}),
        (
            "deploy: {restart_policy: {condition: any, max_attempts: 3}}",
            "/HostConfig/RestartPolicy",
            {"Name": "always", "MaximumRetryCount": 3},
        ),
        ("network_mode: bridge", "/HostConfig/NetworkMode", "bridge"),
        ("networks: [z, b]", "/HostConfig/NetworkMode", "project_b"),
        ("cap_add: [CAP_NET_RAW, sys_time]", "/HostConfig/CapAdd", ["NET_RAW", "SYS_TIME"]),
        (
            "security_opt: ['no-new-privileges:false', 'seccomp=unconfined', 'label:type:x']",
            "/HostConfig/SecurityOpt",
            ["seccomp=unconfined", "label=type:x"],
        ),
        (
            "devices: ['/dev/a', '/dev/b:/dev/c:r']",
            "/HostConfig/Devices",
            [
                {"PathOnHost": "/dev/a", "PathInContainer": "/dev/a", "CgroupPermissions": "rwm"},
                {"PathOnHost": "/dev/b", "PathInContainer": "/dev/c", "CgroupPermissions": "r"},
            ],
        ),
        ("healthcheck: {test: curl x}", "/Config/Healthcheck", ["CMD-SHELL", "curl x"]),
        ("healthcheck: {test: [CMD, x], disable: true}", "/Config/Healthcheck", []),
        (
            "use_api_socket: true",
            "/Mounts",
            [
                {
                    "Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/var/run/docker.sock",
                    "RW": True, "Propagation": "rprivate",
                }
            ],
        ),
        (
            "volumes: ['/etc/../etc/:/x:ro,rslave', 'v:/v', '/gone']",
            "/Mounts",
            [
                {"Type": "volume", "Source": "", "Destination": "/gone", "RW": True, "Propagation": ""},
                {"Type": "volume", "Source": "project_v", "Destination": "/v", "RW": True, "Propagation": ""},
                {"Type": "bind", "Source": "/etc", "Destination": "/x", "RW": False, "Propagation": "rslave"},
            ],
        ),
        (
            "ports: [80, '127.0.0.1:8000-8001:90-91/udp', '[::1]:1:2']",
            "/PublishedPorts",
            [
                {"HostIp": "::1", "HostPort": 1, "ContainerPort": "2/tcp"},
                {"HostIp": "", "HostPort": None, "ContainerPort": "80/tcp"},
                {"HostIp": "127.0.0.1", "HostPort": 8000, "ContainerPort": "90/udp"},
                {"HostIp": "127.0.0.1", "HostPort": 8001, "ContainerPort": "91/udp"},
            ],
        ),
    ],
)  # fmt: skip
def test_settings_are_told_as_the_engine_tells_them(setting: str, pointer: str, value: Any) -> None:
    """The same document as of a running container."""
    from remediator.patch import get

    document, unknown = compose.document(load(HEAD + f"    {setting}\n"), "a")
    assert value == get(document, pointer)
    assert pointer not in unknown


@pytest.mark.parametrize(
    ("setting", "pointer", "told"),
    [
        ("privileged: banana", "/HostConfig/Privileged", "c.yml:4: 'banana' is no boolean"),
        ("privileged: ${P}", "/HostConfig/Privileged", "the variable P, which is not set"),
        ("mem_limit: lots", "/HostConfig/Memory", "c.yml:4: 'lots' is no size"),
        ("ports: ['99999:80']", "/PublishedPorts", "c.yml:4: '99999' is no port"),
        ("ports: {a: b}", "/PublishedPorts", "c.yml:4: is no list"),
        ("volumes: ['a:b:c']", "/Mounts", "mounts to no absolute path"),
        ("volumes: [[a]]", "/Mounts", "c.yml:4: "),
        ("volumes_from: [b]", "/Mounts", "c.yml:4: takes other volumes too"),
        ("cap_add: text", "/HostConfig/CapAdd", "c.yml:4: is no list"),
        ("ulimits: {nofile: many}", "/HostConfig/Ulimits", "'many' is no whole number"),
        ("ulimits: [a]", "/HostConfig/Ulimits", "c.yml:4: is no mapping"),
        ("deploy: {restart_policy: {max_attempts: x}}", "/HostConfig/RestartPolicy", "'x' is no whole number"),
        ("restart: 'on-failure:x'", "/HostConfig/RestartPolicy", "'x' is no whole number"),
        ("build: .", "/Config/User", "the image may name a user"),
        ("pids_limit: $", "/HostConfig/PidsLimit", "c.yml:4: a $ that begins no variable"),
    ],
)
def test_what_a_file_does_not_tell_is_unknown(setting: str, pointer: str, told: str) -> None:
    """With the reason, and never a guess."""
    _, unknown = compose.document(load(HEAD + f"    {setting}\n"), "a")
    assert told in unknown[pointer]
