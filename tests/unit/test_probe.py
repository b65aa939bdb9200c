"""The probe on file trees: it never writes, never blocks, never raises, and keeps secrets on the host."""

from __future__ import annotations

import ast
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator import kinds
from remediator.collect import fleet, probe
from remediator.errors import InputError
from remediator.model import Fact, HostState
from tests.unit.host import CONFIG, Tree, inspect
from tests.unit.strategies import texts

SECRET: Final = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A host's file tree with nothing special in it."""
    return Tree(tmp_path)


def daemon(state: HostState) -> Fact:
    """The one fact of the daemon."""
    return next(iter(state.facts["daemon"].values()))


def link(tree: Tree, path: str, target: str) -> None:
    """A symbolic link in a tree, its target as the host would see it."""
    tree.path(path).parent.mkdir(parents=True, exist_ok=True)
    tree.path(path).symlink_to(target)


def directory(tree: Tree) -> None:
    """daemon.json is a directory."""
    tree.path(CONFIG).mkdir()


def fifo(tree: Tree) -> None:
    """daemon.json is a named pipe that nobody writes to."""
    os.mkfifo(tree.path(CONFIG))


def listening(tree: Tree) -> None:
    """daemon.json is a socket."""
    here = Path.cwd()
    os.chdir(tree.path(CONFIG).parent)  # the path of a socket has to be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("daemon.json")
    finally:
        os.chdir(here)


def large(tree: Tree) -> None:
    """daemon.json has 50 MB."""
    with tree.path(CONFIG).open("wb") as file:
        file.truncate(50 * 10**6)


def holding(content: str | bytes) -> Callable[[Tree], None]:
    """daemon.json is a file with a content."""

    def prepare(tree: Tree) -> None:
        tree.write(CONFIG, content)

    return prepare


def to(target: str) -> Callable[[Tree], None]:
    """daemon.json is a link."""
    return lambda tree: link(tree, CONFIG, target)


def to_directory(tree: Tree) -> None:
    """daemon.json is a link to a directory."""
    tree.path("/srv").mkdir()
    link(tree, CONFIG, "/srv")


def to_fifo(tree: Tree) -> None:
    """daemon.json is a link to a named pipe."""
    os.mkfifo(tree.path("/pipe"))
    link(tree, CONFIG, "/pipe")


def unreadable(tree: Tree) -> None:
    """daemon.json may not be read."""
    tree.write(CONFIG, "{}", 0o000)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (directory, "is a directory, not a file"),
        (fifo, "is a fifo, not a file"),
        (listening, "is a socket, not a file"),
        (large, "larger than 1 MiB"),
        *([] if os.geteuid() == 0 else [(unreadable, "permission denied")]),  # root reads everything
        (to("/nowhere/daemon.json"), "link that leads nowhere"),
        (to("daemon.json"), "link that leads nowhere"),
        (to_directory, "a link to a directory"),
        (to_fifo, "a link to a fifo"),
        (holding('{"a": ' + "[" * 100_000), "nested too deeply"),
        (holding("[" * 100_000 + "]" * 100_000), "nested too deeply"),
        (holding(b'{"a": "\xff\xfe"}'), "not UTF-8 at byte 7"),
        (holding(b"\xff\xfe{\x00}\x00"), "not UTF-8 at byte 0"),
        (holding('{"a": NaN}'), "NaN is not JSON"),
        (holding('{"a": "\\ud800"}'), "half a character"),
        (holding("[]"), "holds a list, not an object"),
        (holding("true"), "holds a bool, not an object"),
        (holding('{"icc": true'), "not valid JSON"),
        (holding('{"icc": true}\0'), "not valid JSON"),
    ],
)
def test_a_file_that_cannot_be_judged_is_unknown_with_the_reason(
    tree: Tree, prepare: Callable[[Tree], None], reason: str
) -> None:
    """Whatever stands in place of daemon.json, the finding is unknown, and nothing blocks or breaks."""
    prepare(tree)
    state = tree.state()
    assert reason in daemon(state).unknown
    assert daemon(state).document == {}
    assert msgspec.json.decode(msgspec.json.encode(state), type=HostState) == state


@pytest.mark.parametrize(
    ("content", "document"),
    [
        ("", {}),
        ("  \n", {}),
        ("\ufeff{}", {}),
        ('\ufeff{"icc": true}', {"icc": True}),
        ('{"icc": true, "icc": false}', {"icc": False}),
        ('{"é": "ü😀"}', {"é": "ü😀"}),
        ('{"a": ' + "[" * 50 + "]" * 50 + "}", None),
    ],
)
def test_what_the_daemon_reads_is_read(tree: Tree, content: str, document: object) -> None:
    """Byte order marks, keys that are there twice and empty files are no trouble."""
    tree.write(CONFIG, content)
    assert daemon(tree.state()).unknown == ""
    if document is not None:
        assert document == daemon(tree.state()).document


@pytest.mark.parametrize(
    "content",
    [
        '{"hosts": 5}',
        '{"hosts": true}',
        '{"hosts": "unix:///x"}',
        '{"hosts": [1, null, {}, "unix://", "tcp://:1"]}',
        '{"hosts": ["unix:///a\\u0000b"]}',
        '{"hosts": ["unix:///\\ud800"]}',
        '{"data-root": "/a\\u0000b"}',
        '{"data-root": "/\\ud800"}',
        '{"data-root": []}',
        '{"data-root": "relative"}',
        '{"data-root": "/../../../../../.."}',
        '{"data-root": "/' + "x" * 5000 + '"}',
        '{"tlscacert": "/\\u0000", "tlscert": 5, "tlskey": null}',
        '{"insecure-registries": 5, "storage-opts": {}, "default-ulimits": []}',
        '{"log-opts": {"tag": "\\u202e\\u001b[31m{{.Name}}"}}',
    ],
)
def test_settings_of_another_type_do_not_stop_the_probe(tree: Tree, content: str) -> None:
    """Settings that name paths are only followed where they can be paths, and the state can be written."""
    tree.write(CONFIG, content)
    assert msgspec.json.decode(msgspec.json.encode(tree.state()), type=HostState).host.name == "web1"


def test_an_absolute_link_is_resolved_inside_the_tree(tree: Tree) -> None:
    """A link to /opt means the tree's /opt, and never that of this machine."""
    tree.write("/opt/docker/daemon.json", '{"icc": false}')
    link(tree, CONFIG, "/opt/docker/daemon.json")
    assert daemon(tree.state()).document == {"icc": False}
    outside = tree.folder / "secret.json"
    outside.write_text('{"debug": true}', encoding="utf-8")
    tree.path(CONFIG).unlink()
    link(tree, CONFIG, str(outside))
    assert "link that leads nowhere" in daemon(tree.state()).unknown
    tree.path(CONFIG).unlink()
    link(tree, CONFIG, "../../../secret.json")  # .. of / is /
    assert "link that leads nowhere" in daemon(tree.state()).unknown


def test_a_directory_that_leads_out_of_the_tree_is_not_followed(tree: Tree) -> None:
    """Where the way to a file goes by an absolute link, the file is unknown: a change would land elsewhere."""
    outside = tree.folder / "outside"
    outside.mkdir()
    (outside / "daemon.json").write_text('{"debug": true}', encoding="utf-8")
    (outside / "daemon.json").chmod(0o666)
    tree.path("/etc/docker").rmdir()
    link(tree, "/etc/docker", str(outside))
    state = tree.state()
    assert "out of the tree" in daemon(state).unknown
    assert "out of the tree" in state.facts["file"][CONFIG].unknown


@pytest.mark.parametrize("name", ["/etc/profile.d/x.sh", "/etc/audit/rules.d/x.rules", "/etc/systemd/system/x.service"])
@pytest.mark.parametrize("target", ["x", "loop", "/nowhere", "fifo", "directory"])
def test_strange_files_beside_do_not_stop_the_probe(tree: Tree, name: str, target: str) -> None:
    """Loops, dangling links, pipes and directories among the files that patterns find are no trouble."""
    here = tree.path(name)
    here.parent.mkdir(parents=True, exist_ok=True)
    if target == "fifo":
        os.mkfifo(here)
    elif target == "directory":
        here.mkdir()
    else:
        here.symlink_to(here.name if target == "loop" else target)
    assert daemon(tree.state()).unknown == ""


@pytest.mark.parametrize("pipe", [True, False])
@pytest.mark.parametrize("name", ["os-release", "hostname", "machine-id", "passwd", "group"])
def test_loops_and_pipes_in_place_of_the_hosts_own_files_do_not_stop_the_probe(
    tree: Tree, name: str, pipe: bool
) -> None:
    """A host whose name or users cannot be read has none."""
    tree.path(f"/etc/{name}").unlink(missing_ok=True)
    if pipe:
        os.mkfifo(tree.path(f"/etc/{name}"))
    else:
        link(tree, f"/etc/{name}", name)
    assert daemon(tree.state()).unknown == ""


def test_a_name_that_is_not_utf8_does_not_stop_the_probe(tree: Tree) -> None:
    """Any bytes may be a file's name; the state can still be written, and says that it is there."""
    folder = tree.path("/etc/docker/certs.d/reg")
    folder.mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(folder) + b"/ca\xff.crt")).write_bytes(b"x")
    state = msgspec.json.decode(msgspec.json.encode(tree.state()), type=HostState)
    named = [fact for path, fact in state.facts["file"].items() if "certs.d" in path]
    assert [fact.unknown.rpartition(": ")[2] for fact in named] == ["its name is not UTF-8"]


def test_a_root_with_special_characters_is_searched(tmp_path: Path) -> None:
    """Brackets in the path of the tree itself are no pattern."""
    tree = Tree(tmp_path / "a[b]*")
    tree.write("/etc/audit/rules.d/mine.rules", "-w /etc/docker -p wa\n")
    (fact,) = tree.state().facts["audit_rule"].values()
    assert fact.document == {"watches": {"/etc/docker": "wa"}}


def test_patterns_are_searched_inside_the_tree(tree: Tree) -> None:
    """A directory of drop-ins that is a link is the one in the tree."""
    tree.write("/opt/drop-ins/a.conf", "[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --icc=false\n")
    link(tree, "/etc/systemd/system/docker.service.d", "../../../opt/drop-ins")
    assert False is daemon(tree.state()).evidence["flags"]["icc"]["value"]


def test_the_world_writable_file_is_told(tree: Tree) -> None:
    """Mode and owner are as on disk, with the tree's own owner standing for root."""
    tree.write(CONFIG, "{}", 0o666)
    (fact,) = [tree.state().facts["file"][CONFIG]]
    assert fact.document == {"mode": "0666", "owner": "root:root"}


def test_collecting_writes_nothing(tree: Tree) -> None:
    """The tree is the same before and after, to the time of the last change."""
    tree.write(CONFIG, '{"icc": true}', 0o666)
    tree.record(inspect("db"))
    before = tree.snapshot()
    tree.state()
    assert before == tree.snapshot()


def test_a_tree_that_is_none_is_refused(tmp_path: Path) -> None:
    """A root that is not there, and a recording that is none, are told."""
    with pytest.raises(InputError, match="not a directory"):
        probe_tree(tmp_path / "nowhere")
    tree = Tree(tmp_path)
    for content in ("", "[]", '{"info": 5, "inspect": []}', '{"info": {}, "inspect": [5]}', "{" * 10_000):
        (tmp_path / "engine.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match="not a recording"):
            tree.state()


def probe_tree(root: Path) -> None:
    """Collect a tree at a path."""
    from remediator.collect import local

    local.collect(kinds.request(), str(root))


# --- secrets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (CONFIG, '{"log-opts": {"splunk-token": "%s"}}'),
        (CONFIG, '{"log-opts" : {\n"awslogs-credentials-endpoint" :\n "%s"}}'),
        (CONFIG, '{"proxies": {"http-proxy": "http://user:%s@proxy:3128"}}'),
        (CONFIG, '{"proxies": {"http-proxy": "http:\\/\\/user:%s@proxy:3128"}}'),
        (CONFIG, '{"proxies": {"https-proxy": "http://user:p@%s@proxy:3128"}}'),
        (CONFIG, '{"registry-mirrors": ["https://%s@mirror.example"]}'),
        (CONFIG, '{"exec-opts": ["password=%s"], "labels": ["API_KEY=%s"]}'),
        (CONFIG, '{"labels": ["token=a\\"%s"]}'),
        (CONFIG, '{"x": {"password": "a\\"%s"}}'),
        (CONFIG, '{"password": "%s", "broken'),
        ("/etc/default/docker", 'DOCKER_OPTS="--log-opt splunk-token=%s"\n'),
        ("/etc/default/docker", "DOCKER_OPTS='--log-opt splunk-token=%s'\nexport http_proxy=http://u:%s@p/\n"),
        ("/etc/default/docker", "export AWS_ACCESS_KEY_ID=%s\nANYTHING=%s\n"),
        ("/etc/default/docker", 'export DOCKER_PASSWORD="two words %s"\n'),
        ("/etc/environment", "ANYTHING=%s\nDOCKER_CONTENT_TRUST=0\n"),
        ("/etc/environment", "# DOCKER_CONTENT_TRUST %s\n"),
        ("/etc/profile.d/x.sh", "export ANYTHING=%s\nexport DOCKER_CONTENT_TRUST=0\n"),
        ("/etc/systemd/system/docker.service.d/a.conf", "[Service]\nEnvironment=REGISTRY_TOKEN=%s\n"),
        ("/etc/systemd/system/docker.service.d/a.conf", '[Service]\nEnvironment="DB_PASSWORD=two words %s"\n'),
        ("/etc/systemd/system/docker.service.d/a.conf", "[Service]\nEnvironment=DB_PASSWORD='two words %s'\n"),
        ("/etc/systemd/system/docker.service.d/a.conf", '[Service]\nEnvironment="A=1" "MY_SECRET=%s" "B=2"\n'),
        ("/etc/systemd/system/docker.service.d/a.conf", "[Service]\nEnvironment=HTTP_PROXY=http://u:%s@proxy\n"),
        ("/etc/systemd/system/docker.service.d/a.conf", "[Service]\nExecStart=/usr/bin/dockerd --x-token=%s\n"),
        (
            "/etc/systemd/system/other.service",
            "[Service]\nEnvironment=ANYTHING=%s\nEnvironment=DOCKER_CONTENT_TRUST=0\n",
        ),
        ("/etc/audit/rules.d/x.rules", "-w /etc/docker -p wa -k password=%s\n"),
    ],
)
def test_secrets_do_not_leave_the_host(tree: Tree, path: str, content: str) -> None:
    """No spelling of a secret is anywhere in the state."""
    tree.write(path, content.replace("%s", SECRET))
    assert SECRET not in msgspec.json.encode(tree.state()).decode()


def test_values_of_container_variables_do_not_leave_the_host(tree: Tree) -> None:
    """Of a container's environment nothing is kept, nor are labels of its own."""
    tree.record(inspect("db", labels={"password": SECRET}, running=False))
    state = msgspec.json.encode(tree.state()).decode()
    assert "hunter2" not in state
    assert '"db"' in state


@given(
    before=texts,
    after=texts,
    secret=st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="\"'\\*"), min_size=1),
    shape=st.sampled_from(['{"my-token": "%s"}', "://%s@", "X_PASSWORD=%s", '"SECRET_X=%s"']),
)
def test_masks_keep_every_position(before: str, after: str, secret: str, shape: str) -> None:
    """A masked text has as many characters as the text, and masking it again changes nothing."""
    text = f"{before}\n{shape.replace('%s', secret)}\n{after}"
    masked = probe.mask(text)
    assert len(text) == len(masked)
    assert masked == probe.mask(masked)
    assert [one for one, other in zip(masked, text, strict=True) if one != other] == ["*"] * sum(
        one != other for one, other in zip(masked, text, strict=True)
    )


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"splunk-token": "a\\"b", "c": 1}', '{"splunk-token": "****", "c": 1}'),
        ('{"labels": ["token=a\\"b", "c"]}', '{"labels": ["token=****", "c"]}'),
        ("http://user:pw@host/path@x", "http://*******@host/path@x"),
        ("http://user:p@w@host/", "http://********@host/"),
        ("image@sha256:abc http://host/a@b", "image@sha256:abc http://host/a@b"),
        ("TOKEN=abc\\\nB=1", "TOKEN=***\\\nB=1"),
        ('Environment="A_TOKEN=a b" B=c', 'Environment="A_TOKEN=***" B=c'),
        ('Environment="A=1" A_TOKEN=a "B=c"', 'Environment="A=1" A_TOKEN=* "B=c"'),
        ('DOCKER_PASSWORD="a b" B=c', 'DOCKER_PASSWORD="***" B=c'),
        ('Environment="A_TOKEN=it\'s me" B=c', 'Environment="A_TOKEN=*******" B=c'),
        ("DOCKER_CONTENT_TRUST=1", "DOCKER_CONTENT_TRUST=1"),
    ],
)
def test_only_the_secret_is_masked(text: str, masked: str) -> None:
    """Around a secret every character stays, so that the text is still what it was: JSON, words, lines."""
    assert masked == probe.mask(text)


@pytest.mark.parametrize("word", ["token", '"token', "token=", '"a.', "://", "://a@", '"token="'])
def test_masking_a_long_line_takes_no_time(word: str) -> None:
    """A file made to keep the probe busy does not."""
    started = time.monotonic()
    probe.mask(word * 50_000)
    assert time.monotonic() - started < 3


# --- where it runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", fleet.PROBE)
def test_the_probe_runs_on_old_pythons_with_nothing_installed(module: str) -> None:
    """The syntax is that of Python 3.8, and imports are of the standard library and of the probe itself."""
    path = Path(probe.__file__).with_name(f"{module}.py")
    parsed = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    names = {alias.name for one in ast.walk(parsed) if isinstance(one, ast.Import) for alias in one.names}
    froms = [one for one in ast.walk(parsed) if isinstance(one, ast.ImportFrom)]
    names |= {one.module or "" for one in froms if not one.level}
    near = {one.module or alias.name for one in froms if one.level for alias in one.names}
    assert set() == near - set(fleet.PROBE)
    assert set() == {one.partition(".")[0] for one in names} - sys.stdlib_module_names
    used = {one.attr for one in ast.walk(parsed) if isinstance(one, ast.Attribute)}
    assert set() == used & {"removeprefix", "removesuffix", "pairwise", "bit_count", "readlink_", "is_relative_to"}
