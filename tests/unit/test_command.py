"""A flag that owns a key is fixed where it stands, and everything else in its file keeps its bytes."""

from __future__ import annotations

from typing import Any

import pytest

from remediator import kinds
from remediator.audit import audit
from remediator.model import Disruption, FileEdit, Finding, HostState, Outcome, Safety
from remediator.patch import digest
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host, preimage
from tests.unit.host import CONFIG, UNIT, baseline, engine, evidence, file, state

DROP_IN = "/etc/systemd/system/docker.service.d/10-own.conf"
DEFAULT = "/etc/default/docker"
SYSCONFIG = "/etc/sysconfig/docker"
SCRIPT = "/etc/init.d/docker"
PACKAGED = (
    "[Unit]\nAfter=x\n\n[Service]\nEnvironmentFile=-/etc/default/docker\nEnvironmentFile=-/etc/sysconfig/docker\n"
    "ExecStart=/usr/bin/dockerd -H fd:// $DOCKER_OPTS $OPTIONS\n"
)
RESTART = Policy(Safety.UNSAFE, Disruption.RESTART)


def given(files: dict[str, Any], *argv: str, config: str = "{}", **more: Any) -> HostState:
    """A host with these files of the daemon's start, and a daemon that was started with these words."""
    texts = {path: file(one) if isinstance(one, str) else one for path, one in files.items()}
    units = [UNIT, *(path for path in texts if path.endswith(".conf"))]
    texts.setdefault(UNIT, file(PACKAGED))
    found = evidence(
        config, daemon={"argv": ["/usr/bin/dockerd", *argv]}, files=texts, found=engine(), root="/", **more
    )
    found["units"]["docker.service"] = units
    return kinds.state(found)


def plan(found: HostState, *controls: str) -> HostPlan:
    """The plan of what a restart may do."""
    return plan_host(found, baseline(*controls), RESTART)


def judged(found: HostState, control: str) -> Finding:
    """The one finding of a control."""
    (one,) = audit(found, baseline(control))
    return one


ICC, PROXY, LEVEL, REGISTRIES, PARENT = (
    "docker-icc",
    "docker-userland-proxy",
    "docker-log-level",
    "docker-insecure-registries",
    "docker-cgroup-parent",
)
HEAD = "[Service]\nExecStart=\n"


@pytest.mark.parametrize(
    ("path", "before", "after", "controls"),
    [
        (DROP_IN, f"{HEAD}ExecStart=/usr/bin/dockerd --icc=true -H fd://\n", "--icc=true > --icc=false", [ICC]),
        (DROP_IN, f"{HEAD}ExecStart=/usr/bin/dockerd --icc -H fd://\n", "--icc > --icc=false", [ICC]),
        (DROP_IN, f'{HEAD}ExecStart=/usr/bin/dockerd "--icc=true" -H fd://\n', '"--icc=true" > "--icc=false"', [ICC]),
        (DROP_IN, f"{HEAD}ExecStart=/usr/bin/dockerd -l warn\n", "-l warn > -l info", [LEVEL]),
        (DROP_IN, f"{HEAD}ExecStart=/usr/bin/dockerd --log-level 'warn'\n", "'warn' > 'info'", [LEVEL]),
        (DROP_IN, f"{HEAD}ExecStart=/usr/bin/dockerd -lwarn\n", "-lwarn > --log-level=info", [LEVEL]),
        (DROP_IN, f"{HEAD}ExecStart=/usr/bin/dockerd --icc=false --icc=true\n", "--icc=true > --icc=false", [ICC]),
        (
            DROP_IN,
            f"# ours\r\n{HEAD}ExecStart=/usr/bin/dockerd \\\r\n   -H fd:// \\\r\n\t--icc=1 \\\r\n # why\r\n  -D=0\r\n",
            "--icc=1 > --icc=false",
            [ICC],
        ),
        (
            DROP_IN,
            f"{HEAD}ExecStart=/usr/bin/dockerd --icc --userland-proxy=true -l warn\n",
            "--icc --userland-proxy=true -l warn > --icc=false --userland-proxy=false -l info",
            [ICC, PROXY, LEVEL],
        ),
        (DROP_IN, f"{HEAD}ExecStart=/usr/bin/dockerd --cgroup-parent=/x -D=0\n", " --cgroup-parent=/x > ", [PARENT]),
        (DROP_IN, f"{HEAD}ExecStart=/bin/dockerd \\\n --cgroup-parent /x\n", " \\\n --cgroup-parent /x > ", [PARENT]),
        (
            DROP_IN,
            f"{HEAD}ExecStart=/usr/bin/dockerd \\\n  --cgroup-parent=/x \\\n  -H fd://\n",
            "  --cgroup-parent=/x \\\n > ",
            [PARENT],
        ),
        (
            DROP_IN,
            f"{HEAD}ExecStart=/usr/bin/dockerd --insecure-registry a:1 --insecure-registry=127.0.0.0/8\n",
            " --insecure-registry a:1 > ",
            [REGISTRIES],
        ),
        (DROP_IN, '[Service]\nEnvironment="DOCKER_OPTS=--icc=true -D=0"\n', "--icc=true > --icc=false", [ICC]),
        (DEFAULT, '# --icc=true\nDOCKER_OPTS="--icc=true --mtu 1400"\n', "\"--icc=true > \"--icc=false", [ICC]),
        (DEFAULT, "DOCKER_OPTS=--icc\n", "--icc > --icc=false", [ICC]),
        (DEFAULT, 'A=1\nDOCKER_OPTS="\\\n  --icc \\\n  -H tcp://x:1"\nB=2\n', "--icc > --icc=false", [ICC]),
        (DEFAULT, 'DOCKER_OPTS="--insecure-registry=a:1"\n', "--insecure-registry=a:1 > ", [REGISTRIES]),
        (DEFAULT, 'DOCKER_OPTS="--mtu=1"\nDOCKER_OPTS="--icc"\n', "--icc > --icc=false", [ICC]),
        (SYSCONFIG, "OPTIONS='--icc=true --selinux-enabled'\n", "--icc=true > --icc=false", [ICC]),
    ],
)  # fmt: skip
def test_a_flag_is_edited_where_it_stands(path: str, before: str, after: str, controls: list[str]) -> None:
    """Quotes, comments, ends of lines and all other words are kept; the daemon is restarted with units read anew."""
    old, new = after.split(" > ")
    found = given({path: before}, "-H", "fd://")
    made = plan(found, *controls)
    assert [one.reason for one in made.held] == []
    (edit,) = made.steps.files
    assert isinstance(edit, FileEdit)
    place = before.rindex(old.lstrip('"')) - (len(old) - len(old.lstrip('"')))
    expected = before[:place] + new + before[place + len(old) :]
    assert (edit.path, edit.content) == (path, expected)
    activation = made.steps.activation
    assert (activation.action, activation.awaited) == ("restart", True)
    assert activation.reload_units is path.endswith(".conf")
    assert made.patches == {}
    again = plan(given({path: expected}, "-H", "fd://"), *controls)
    assert path not in [one.path for one in again.steps.files]


def test_several_flags_in_several_files_are_edited_in_one_plan() -> None:
    """One edit a file, one restart, and daemon.json has what no flag sets."""
    files = {
        DROP_IN: f"{HEAD}ExecStart=/usr/bin/dockerd -H fd:// --icc=true $DOCKER_OPTS\n",
        DEFAULT: 'DOCKER_OPTS="--userland-proxy=true"\n',
    }
    made = plan(
        given(files, "-H", "fd://", "--icc=true", "--userland-proxy=true"),
        ICC,
        PROXY,
        LEVEL,
        "docker-no-new-privileges",
    )
    edits = {one.path: one.content for one in made.steps.files}
    assert {CONFIG, DROP_IN, DEFAULT} == edits.keys()
    assert "--icc=false $DOCKER_OPTS" in edits[DROP_IN]
    assert edits[DEFAULT] == 'DOCKER_OPTS="--userland-proxy=false"\n'
    assert [one.flag for one in made.changes if one.path == "/icc"] == [f"--icc in {DROP_IN}:3"]


@pytest.mark.parametrize(
    ("files", "argv", "told"),
    [
        (
            {UNIT: "[Service]\nExecStart=/usr/bin/dockerd --icc=true\n"},
            ["--icc=true"],
            f"--icc in {UNIT}:2 sets this key",
        ),
        (
            {UNIT: "[Service]\nExecStart=/usr/bin/dockerd -H fd:// \\\n  --icc\n"},
            ["-H", "fd://", "--icc"],
            f"--icc in {UNIT}:3 sets this key, and that file belongs to the package",
        ),
        ({UNIT: "[Service]\nExecStart=/opt/run-docker\n"}, ["--icc"], "no file is known that it comes from"),
        (
            {DROP_IN: f"{HEAD}Environment=ICC=true\nExecStart=/usr/bin/dockerd --icc=${{ICC}}\n"},
            ["--icc=true"],
            "is not edited",
        ),
        ({DROP_IN: f"{HEAD}ExecStart=/usr/bin/dockerd --label x -Dlwarn\n"}, [], "is not edited"),
        (
            {DROP_IN: {**file(f"{HEAD}ExecStart=/usr/bin/dockerd --icc=true\n"), "type": "link", "target": "/opt/x"}},
            ["--icc=true"],
            f"--icc in {DROP_IN}:3 sets this key, and that file is a link to /opt/x",
        ),
    ],
)
def test_what_is_not_ours_to_edit_is_held_with_its_place(files: dict[str, Any], argv: list[str], told: str) -> None:
    """The package's unit, a wrapper's command line, a value of a variable, a link."""
    made = plan(given({**files}, *argv), ICC, LEVEL)
    held = [one.reason for one in made.held]
    assert any(told in one for one in held), held
    assert all(one.path == CONFIG for one in made.steps.files)


def test_a_flag_in_a_file_that_nobody_reads_is_told_and_does_nothing() -> None:
    """Docker's own packages have a unit that reads no option file."""
    unit = "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"
    found = given({UNIT: unit, DEFAULT: '\nDOCKER_OPTS="--icc=false"\n'}, "-H", "fd://")
    assert judged(found, ICC).outcome is Outcome.FAIL
    made = plan(found, ICC)
    told = f"{DEFAULT}:2: DOCKER_OPTS has flags of dockerd, and the unit does not use it: they do nothing"
    assert told in made.notes
    assert [one.path for one in made.steps.files] == [CONFIG]


def test_the_init_script_reads_its_option_file() -> None:
    """Without systemd the flags of /etc/default/docker are found by the script that reads it, and edited there."""
    script = 'BASE=docker\nDOCKER_OPTS=\n. /etc/default/$BASE\nstart-stop-daemon --exec x -- -p "$PID" $DOCKER_OPTS\n'
    files = {DEFAULT: 'DOCKER_OPTS="--icc=true"\nDOCKER_OPTS="$DOCKER_OPTS --mtu=1400"\n', SCRIPT: script}
    found = given(files, "-p", "/run/docker.pid", "--icc=true", "--mtu=1400", "-l", "warn", about={"init": "other"})
    made = plan(found, ICC, LEVEL)
    (edit,) = made.steps.files
    assert edit.content == files[DEFAULT].replace("--icc=true", "--icc=false")
    assert not made.steps.activation.reload_units
    assert ["--log-level on the daemon's command line" in one.reason for one in made.held] == [True]


def test_a_flag_is_no_longer_found_wrong_once_the_file_is_right_but_awaits_the_restart() -> None:
    """The next start has the right value; the running daemon was started with another."""
    found = given({DROP_IN: f"{HEAD}ExecStart=/usr/bin/dockerd --icc=false\n"}, "--icc=true")
    one = judged(found, ICC)
    assert (one.outcome, one.pending) == (Outcome.FAIL, True)
    assert "another command line" in one.reason
    made = plan(found, ICC)
    assert (made.steps.files, made.steps.activation.action) == ((), "restart")


def test_a_flag_that_is_gone_from_the_unit_makes_a_reload_a_restart() -> None:
    """A reload fails as long as the running daemon's flags set a key of the file."""
    found = given({}, "-H", "fd://", "--debug=true", config='{"debug": false}')
    made = plan(found, "docker-live-restore")
    assert [one.disruption for one in made.changes] == [Disruption.RESTART]
    assert not made.steps.activation.reload_first


def test_a_plan_is_bound_to_the_files_of_the_command_line() -> None:
    """A drop-in that changes between plan and apply makes the plan stale."""
    one, other = (
        next(iter(given({DROP_IN: f"{HEAD}ExecStart=/usr/bin/dockerd {words}\n"}).facts["daemon"].values()))
        for words in ("-D", "-D=0")
    )
    assert digest(one.document) == digest(other.document)
    assert preimage(one) != preimage(other)


def test_two_kinds_do_not_edit_the_same_file_in_one_plan() -> None:
    """The second edit would not find the text that it was made for."""
    text = 'DOCKER_OPTS="--icc=true"\nDOCKER_CONTENT_TRUST=0\n'
    made = plan(given({DEFAULT: text}, "-H", "fd://", "--icc=true"), ICC, "env-content-trust")
    assert [one.path for one in made.steps.files if one.path == DEFAULT] == [DEFAULT]
    assert any(f"edits flags in {DEFAULT} already" in one.reason for one in made.held)


def test_secrets_beside_a_flag_stay_on_the_host() -> None:
    """A masked file is edited in pieces, and a masked value is never written."""
    line = f"{HEAD}ExecStart=/usr/bin/dockerd --icc=true --http-proxy=http://******@p:1\n"
    made = plan(given({DROP_IN: {**file(line), "masked": True}}, "--icc=true"), ICC)
    (edit,) = made.steps.files
    assert edit.masked
    assert edit.content == ""
    assert made.steps.activation.validate == ()


def test_flags_count_where_no_daemon_runs() -> None:
    """In a file tree the last ExecStart decides, with the options of the files that the unit names."""
    unit = PACKAGED.replace("ExecStart=", "ExecStart=/x --icc=true\nExecStart=\nExecStart=")
    found = state("{}", files={UNIT: file(unit), DEFAULT: file('DOCKER_OPTS="--icc=false"\n')})
    assert judged(found, ICC).outcome is Outcome.PASS
