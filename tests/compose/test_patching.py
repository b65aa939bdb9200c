"""Patches touch what they must and prove it; what cannot be proved is refused."""

from __future__ import annotations

import time
from typing import Any

import pytest

from remediator import compose, compose_audit
from remediator.baseline import load_baseline
from remediator.edited import file_edit
from remediator.model import Safety
from tests.compose.corpus import change, changes, differences, loaded

FLAG = "/HostConfig/Privileged"


def large(services: int) -> str:
    """A file of nine lines a service."""
    return "# all of them\nservices:\n" + "".join(
        f"  s{one}:\n    image: example/app:{one}   # a\n    privileged: true\n    ports:\n      - {8000 + one}:80\n"
        f'    environment:\n      A: "{one}"\n      B: text\n\n'
        for one in range(services)
    )


def test_a_file_of_two_thousand_lines_is_patched_in_its_lines() -> None:
    """In the middle of 220 services one line goes and two come, and it takes little time."""
    text = large(220)
    assert text.count("\n") > 1980
    project = compose.load({"c.yml": text}, ["c.yml"], ".", {})
    started = time.process_time()
    wanted = {FLAG: False, "/HostConfig/ReadonlyRootfs": True}
    made = compose.patch(project, "s117", changes(project, "s117", wanted))
    assert time.process_time() - started < 5
    new = made.project.texts["c.yml"]
    old_lines, new_lines = text.split("\n"), new.split("\n")
    at = old_lines.index("    privileged: true", old_lines.index("  s117:"))
    assert new_lines[:at] == old_lines[:at]
    assert new_lines[at] == "    privileged: false"
    assert new_lines[at + 1 : at + 6] == old_lines[at + 1 : at + 6]
    assert new_lines[at + 6] == "    read_only: true"
    assert new_lines[at + 7 :] == old_lines[at + 6 :]
    assert differences(loaded(text), loaded(new)) == {
        "services.s117.privileged": False,
        "services.s117.read_only": True,
    }


def test_the_edit_is_a_file_edit_on_a_host_that_masked_secrets() -> None:
    """Masks are never written back: the edit is slices and new text."""
    text = "services:\n  a:\n    image: x:1\n    environment: {TOKEN: ********}\n    privileged: true\n"
    project = compose.load({"/srv/c.yml": text}, ["/srv/c.yml"], "/srv", {})
    made = compose.patch(project, "a", [change(FLAG, True, False)])
    edit = file_edit("/srv/c.yml", {"text": text, "sha256": "0" * 64, "masked": True}, made.texts["/srv/c.yml"])
    assert edit is not None
    real = text.replace("********", "geheim!!")
    pieces = (one if isinstance(one, str) else real[one[0] : one[1]] for one in edit.pieces)
    assert "".join(pieces) == real.replace("privileged: true", "privileged: false")


def test_a_list_change_is_what_it_takes_and_adds() -> None:
    """What the container did not have when the change was found is left in the file."""
    text = "services:\n  a:\n    image: x:1\n    cap_add: [SYS_TIME, NET_RAW, SYS_ADMIN]\n"
    project = compose.load({"c.yml": text}, ["c.yml"], ".", {})
    some = [change("/HostConfig/CapAdd", ["CAP_SYS_ADMIN", "CAP_NET_RAW"], ["CAP_NET_RAW", "CAP_CHOWN"])]
    made = compose.patch(project, "a", some)
    assert "    cap_add: [SYS_TIME, NET_RAW, CHOWN]\n" in made.project.texts["c.yml"]


def test_two_changes_of_one_list_add_up() -> None:
    """Two controls ask for changes at the same place, each from the same start."""
    text = "services:\n  a:\n    image: x:1\n    security_opt: [seccomp:unconfined, label:disable]\n"
    project = compose.load({"c.yml": text}, ["c.yml"], ".", {})
    pointer, start = "/HostConfig/SecurityOpt", ["seccomp=unconfined", "label=disable"]
    some = [
        change(pointer, start, [*start, "no-new-privileges"]),
        change(pointer, start, ["label=disable"]),
        change(pointer, start, ["seccomp=unconfined"]),
    ]
    made = compose.patch(project, "a", some)
    assert not made.refused
    assert made.project.texts["c.yml"].endswith("    security_opt: [no-new-privileges:true]\n")


def test_changes_of_a_live_container_find_their_place_in_the_file() -> None:
    """The engine tells of volumes by their directory, and of some that the image brings."""
    text = (
        "services:\n  a:\n    image: x:1\n    volumes:\n      - data:/data\n      - /etc:/host/etc:shared\n"
        "      - /run:/host/run\n    security_opt: ['no-new-privileges:false']\n    tmpfs: /run\n"
    )
    project = compose.load({"c.yml": text}, ["c.yml"], "/srv/shop", {})
    kept = [
        {"Type": "volume", "Source": f"/var/lib/docker/volumes/{one}/_data", "Destination": where, "RW": True,
         "Propagation": "z"}
        for one, where in (("shop_data", "/data"), ("0" * 64, "/var/cache"))
    ]  # fmt: skip
    etc = {"Type": "bind", "Source": "/etc", "Destination": "/host/etc", "RW": True, "Propagation": "shared"}
    run = {"Type": "bind", "Source": "/run", "Destination": "/host/run", "RW": True, "Propagation": "rprivate"}
    some = [
        change("/Mounts", [*kept, etc, run], [*kept, {**etc, "RW": False, "Propagation": "rprivate"}]),
        change("/HostConfig/SecurityOpt", [], ["no-new-privileges"]),
        change("/HostConfig/Tmpfs", None, {"/tmp": ""}),
    ]
    made = compose.patch(project, "a", some)
    assert not made.refused
    assert made.project.texts["c.yml"] == (
        "services:\n  a:\n    image: x:1\n    volumes:\n      - data:/data\n      - /etc:/host/etc:ro\n"
        "    security_opt: ['no-new-privileges:true']\n    tmpfs: [/run, /tmp]\n"
    )
    assert not compose.patch(made.project, "a", some).texts


def test_one_refusal_does_not_hold_the_others() -> None:
    """Each change stands for itself."""
    text = "services:\n  a:\n    image: x:${TAG:-1}\n    pid: host\n"
    project = compose.load({"c.yml": text}, ["c.yml"], ".", {})
    some = changes(project, "a", {"/Config/Image": "x:2", "/HostConfig/PidMode": "", "/Nowhere": 1})
    made = compose.patch(project, "a", some)
    assert [one.path for one, _ in made.refused] == ["/Config/Image", "/Nowhere"]
    assert made.project.texts["c.yml"] == "services:\n  a:\n    image: x:${TAG:-1}\n"
    assert project.texts["c.yml"] == text


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain:1", "image: plain:1"),
        ("a b", 'image: "a b"'),
        ("yes", 'image: "yes"'),
        ("1", 'image: "1"'),
        ("x: y", 'image: "x: y"'),
        ("x #y", 'image: "x #y"'),
        ("*x", 'image: "*x"'),
        ("a$B", "image: a$$B"),
        ('"q"', 'image: "\\"q\\""'),
        ("a\nb: c", 'image: "a\\nb: c"'),
        ("{{ x }}", 'image: "{{ x }}"'),
        ("\u2028\u0085é", 'image: "\\U00002028\\U00000085é"'),
        ("12:30", 'image: "12:30"'),
    ],
)
def test_a_value_is_written_so_that_it_is_read_as_itself(value: str, line: str) -> None:
    """Whatever a host's data holds, it stays one value."""
    project = compose.load({"c.yml": "services:\n  a:\n    image: x\n"}, ["c.yml"], ".", {})
    made = compose.patch(project, "a", [change("/Config/Image", "x", value)])
    assert not made.refused
    assert made.project.texts["c.yml"] == f"services:\n  a:\n    {line}\n"
    assert compose.document(made.project, "a")[0]["Config"]["Image"] == value


@pytest.mark.parametrize(
    ("text", "pointer", "value", "told"),
    [
        ("services:\n  a:\n    user: x\n    image: |\n      x\n", "/Config/Image", "y:1", "is a block of text"),
        ("services:\n  a:\n", FLAG, True, "is no mapping of its own"),
        ("services:\n  a: {image: x, pid: &p host}\nname: *p\n", "/HostConfig/PidMode", "", "there is no anchor"),
        ("services:\n  a: {image: x}\n", "/HostConfig/NetworkMode", "shared", "decided by hand"),
        ("services:\n  a: {image: x, volumes: ['/a:/b']}\n", "/Mounts", [
            {"Type": "bind", "Source": "/c", "Destination": "/b", "RW": True, "Propagation": "rprivate"}
        ], "what is mounted to /b has to be decided by hand"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_refused(text: str, pointer: str, value: Any, told: str) -> None:
    """With a reason, and the text as it was."""
    project = compose.load({"c.yml": text}, ["c.yml"], ".", {})
    made = compose.patch(project, "a", changes(project, "a", {pointer: value}))
    assert [told in reason for _, reason in made.refused] == [True], made.refused
    assert (made.texts, made.project.texts["c.yml"]) == ({}, text)


def test_findings_name_file_line_and_service() -> None:
    """The offending item of a list, the key of a value, the service where nothing is set."""
    text = (
        "services:\n  web:\n    image: nginx:${TAG}\n    volumes:\n      - data:/d\n"
        "      - /var/run/docker.sock:/s\n    privileged: true\nvolumes: {data: {}}\n"
    )
    project = compose.load({"ci/c.yml": text}, ["ci/c.yml"], "ci", {})
    found = {one.control: one for one in compose_audit.findings(project, load_baseline(), "2026-01-01")}
    assert {
        name: (found[name].outcome.value, found[name].reason[: len(reason)])
        for name, reason in {
            "container-docker-socket": "ci/c.yml:6: is ",
            "container-privileged": "ci/c.yml:7: is true",
            "container-memory": "ci/c.yml:2: is 0",
            "container-image-pinned": "ci/c.yml:3: depends on the variable TAG, which is not set",
            "container-healthcheck": "ci/c.yml:2: the image may bring a health check",
            "container-apparmor": "ci/c.yml:2: is []",
        }.items()
    } == {
        "container-docker-socket": ("fail", "ci/c.yml:6: is "),
        "container-privileged": ("fail", "ci/c.yml:7: is true"),
        "container-memory": ("fail", "ci/c.yml:2: is 0"),
        "container-image-pinned": ("unknown", "ci/c.yml:3: depends on the variable TAG, which is not set"),
        "container-healthcheck": ("unknown", "ci/c.yml:2: the image may bring a health check"),
        "container-apparmor": ("pass", "ci/c.yml:2: is []"),
    }
    assert {one.resource for one in found.values()} <= {"ci/c.yml#web", "ci/c.yml"}


def test_a_wrong_item_stays_wrong_beside_an_unknown_one() -> None:
    """Unknown never hides a failure, and never makes a pass."""
    for cap, outcome in (("SYS_ADMIN", "fail"), ("${B}", "unknown")):
        text = f"services:\n  web:\n    image: x:1\n    cap_add: ['${{A}}', '{cap}']\n"
        project = compose.load({"c.yml": text}, ["c.yml"], ".", {})
        found = {one.control: one for one in compose_audit.findings(project, load_baseline(), "2026-01-01")}
        assert found["container-capabilities"].outcome.value == outcome


def test_fixing_makes_the_findings_pass() -> None:
    """What was fixed passes, what was not is held with a reason, and a second time changes nothing."""
    project = compose.load({"c.yml": large(3)}, ["c.yml"], ".", {})
    baseline = load_baseline()
    found = compose_audit.findings(project, baseline, "2026-01-01")
    fixed, held = compose_audit.fix(project, found, Safety.UNSAFE)
    now = compose_audit.findings(fixed, baseline, "2026-01-01")
    failing = {(one.resource, one.changes[0].path) for one in now if one.outcome == "fail"}
    assert failing == {(resource, one.path) for resource, one, _ in held}
    assert {"/HostConfig/Memory", "/HostConfig/PidsLimit", "/PublishedPorts"} == {path for _, path in failing}
    again, _ = compose_audit.fix(fixed, now, Safety.UNSAFE)
    assert again.texts == fixed.texts
    assert compose_audit.fix(project, found, Safety.SAFE)[0].texts == project.texts
