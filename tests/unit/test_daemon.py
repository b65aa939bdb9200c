"""The daemon is judged by what is in effect, and patched where the setting is owned."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remediator.audit import audit
from remediator.dockerd import flags
from remediator.model import Disruption, FileEdit, Finding, HostState, Outcome, Safety
from remediator.plan.model import Policy
from remediator.plan.plan import plan_host
from tests.unit.host import CONFIG, baseline, engine, evidence, file, state

RECORD = "/var/lib/remediator/activation.json"


def judged(control: str, given: HostState, **more: Any) -> Finding:
    """The one finding of a control on a state."""
    (found,) = audit(given, baseline(control, **more))
    return found


@pytest.mark.parametrize(
    ("control", "config", "argv", "outcome", "told"),
    [
        ("docker-icc", None, [], Outcome.FAIL, "is true by default"),
        ("docker-icc", "", [], Outcome.FAIL, "is true by default"),
        ("docker-icc", '{"icc": false}', [], Outcome.PASS, "is false in the file"),
        ("docker-icc", '{"icc": true}', [], Outcome.FAIL, "is true in the file"),
        ("docker-icc", '{"icc": 0}', [], Outcome.FAIL, "is 0 in the file"),
        ("docker-icc", '{"icc": "false"}', [], Outcome.FAIL, 'is "false" in the file'),
        ("docker-icc", '{"ICC": false}', [], Outcome.FAIL, "is true by default"),
        ("docker-icc", None, ["--icc=false"], Outcome.PASS, "is false by --icc"),
        ("docker-icc", None, ["--icc=0"], Outcome.PASS, "is false by --icc"),
        ("docker-icc", None, ["--icc"], Outcome.FAIL, "is true by --icc"),
        ("docker-icc", '{"icc": false}', ["--icc=true"], Outcome.FAIL, "is true by --icc"),
        ("docker-log-level", None, [], Outcome.PASS, 'is "info" by default'),
        ("docker-log-level", None, ["-l", "debug"], Outcome.FAIL, 'is "debug" by --log-level'),
        ("docker-log-level", None, ["-D", "--log-level", "info"], Outcome.PASS, 'is "info" by --log-level'),
        ("docker-insecure-registries", '{"insecure-registries": ["127.0.0.0/8"]}', [], Outcome.PASS, "in the file"),
        ("docker-insecure-registries", None, ["--insecure-registry", "r:5000"], Outcome.FAIL, "by --insecure-registry"),
        ("docker-default-ulimits", None, ["--default-ulimit=nofile=1:2"], Outcome.PASS, "by --default-ulimit"),
        ("docker-log-driver", '{"log-driver": "syslog"}', [], Outcome.PASS, "in the file"),
        ("docker-log-driver", None, [], Outcome.FAIL, '"json-file" by default'),
        ("docker-seccomp-profile", '{"seccomp-profile": "unconfined"}', [], Outcome.FAIL, "unconfined"),
    ],
)
def test_flags_come_before_the_file_and_the_file_before_the_default(
    control: str, config: str | None, argv: list[str], outcome: Outcome, told: str
) -> None:
    """The value in effect decides, and the reason says where it comes from."""
    found = judged(control, state(config, daemon={"argv": ["dockerd", *argv]}))
    assert outcome is found.outcome
    assert told in found.reason


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-H", "fd://", "--host=tcp://:1"], {"hosts": ["fd://", "tcp://:1"]}),
        (["--icc", "--tlsverify=false"], {"icc": True, "tlsverify": False}),
        (["--log-opt", "a=b=c", "--log-opt=d="], {"log-opts": {"a": "b=c", "d": ""}}),
        (["--label", "x", "dockerd", "-D"], {"labels": ["x"], "debug": True}),
        (["--bip"], {}),
        (["--mtu", "1", "--mtu", "2"], {"mtu": "2"}),
    ],
)
def test_command_lines_are_read_as_the_daemon_reads_them(argv: list[str], expected: dict[str, Any]) -> None:
    """Flags have the names of keys, booleans take no word, and lists and maps gather."""
    assert expected == {key: one["value"] for key, one in flags.parse(["dockerd", *argv]).items()}


@pytest.mark.parametrize(
    ("control", "config", "found", "pending"),
    [
        ("docker-icc", '{"icc": false}', engine(icc="true"), True),
        ("docker-icc", '{"icc": false}', engine(icc="false"), False),
        ("docker-live-restore", '{"live-restore": true}', engine(info={"LiveRestoreEnabled": False}), True),
        ("docker-live-restore", '{"live-restore": true}', engine(info={"LiveRestoreEnabled": True}), False),
        ("docker-experimental", '{"experimental": false}', engine(info={"ExperimentalBuild": True}), True),
        ("docker-no-new-privileges", '{"no-new-privileges": true}', engine(info={"SecurityOptions": []}), True),
        (
            "docker-no-new-privileges",
            '{"no-new-privileges": true}',
            engine(info={"SecurityOptions": ["name=no-new-privileges"]}),
            False,
        ),
        (  # an engine that does not show it
            "docker-no-new-privileges",
            '{"no-new-privileges": true}',
            engine(info={"ServerVersion": "20.10.24", "SecurityOptions": []}),
            False,
        ),
        (
            "docker-insecure-registries",
            "{}",
            engine(info={"RegistryConfig": {"InsecureRegistryCIDRs": ["10.0.0.0/8"]}}),
            True,
        ),
    ],
)
def test_a_right_file_and_another_engine_is_pending_activation(
    control: str, config: str, found: dict[str, Any], pending: bool
) -> None:
    """Where the engine does other than the file says, the finding fails, and no document is patched."""
    given = state(config, daemon={"started": 2000.0}, found=found)
    one = judged(control, given)
    assert pending is one.pending
    assert (Outcome.FAIL if pending else Outcome.PASS) is one.outcome
    assert [pending] * len(one.changes) == [change.activation for change in one.changes]
    if pending:
        assert "pending activation" in one.reason


@pytest.mark.parametrize(
    ("changed", "record", "pending"),
    [
        (1000.0, None, False),
        (2000.5, None, False),
        (3000.0, None, True),
        (3000.0, {"started": 2000.0, "pending": []}, False),
        (3000.0, {"started": 2000.0, "pending": ["userland-proxy"]}, True),
        (3000.0, {"started": 2000.0, "pending": ["icc"]}, False),
        (3000.0, {"started": 1500.0, "pending": []}, True),
        (3000.0, {"started": 2000.0, "pending": [], "sha256": "other"}, True),
        (3000.0, "not a record", True),
    ],
)
def test_a_file_younger_than_the_daemon_is_pending_unless_recorded(changed: float, record: Any, pending: bool) -> None:
    """What the engine does not show is believed only of a file that was there at its start or last reload."""
    config = file('{"userland-proxy": false}', changed=changed)
    files = {CONFIG: config}
    if record is not None:
        full = {"sha256": config["sha256"], **record} if isinstance(record, dict) else record
        files[RECORD] = file(json.dumps(full))
    given = state(files=files, daemon={"started": 2000.0})
    assert pending is judged("docker-userland-proxy", given).pending


def test_a_removed_key_is_pending_where_it_is_recorded() -> None:
    """The daemon that runs still has it."""
    config = file("{}", changed=3000.0)
    record = {"sha256": config["sha256"], "started": 2000.0, "pending": ["log-level"]}
    given = state(files={CONFIG: config, RECORD: file(json.dumps(record))}, daemon={"started": 2000.0})
    assert judged("docker-log-level", given).pending


def test_without_a_daemon_nothing_is_pending() -> None:
    """A file tree is judged by its files."""
    given = state(files={CONFIG: file('{"userland-proxy": false}', changed=3000.0)})
    assert Outcome.PASS is judged("docker-userland-proxy", given).outcome


def test_a_silent_engine_makes_findings_unknown_and_nothing_is_patched() -> None:
    """On a host whose engine gives no answer no daemon setting is judged, and none is changed."""
    silent = {"error": "the engine did not answer in time"}
    given = state("{}", root="/", daemon={}, found=silent)
    chosen = baseline("docker-icc", "docker-live-restore", "container-memory", "host-engine-version", "swarm-mode-off")
    outcomes = {one.control: (one.outcome, one.reason) for one in audit(given, chosen)}
    unknown = (Outcome.UNKNOWN, "the engine did not answer in time")
    assert unknown == outcomes["docker-icc"]
    assert unknown == outcomes["container-memory"]
    assert unknown == outcomes["swarm-mode-off"]
    assert Outcome.UNKNOWN is outcomes["docker-live-restore"][0]
    plan = plan_host(given, chosen, Policy(Safety.UNSAFE, Disruption.MIGRATE))
    assert (plan.changes, plan.patches, bool(plan.steps)) == ((), {}, False)


@pytest.mark.parametrize(
    "broken",
    [
        file("{"),
        file("[]"),
        {"type": "directory", "mode": "0755", "owner": "root:root"},
        {"type": "file", "error": "permission denied"},
        {"type": "unknown", "error": "behind a link that leads out of the tree"},
        {"type": "link", "error": "link that leads nowhere"},
    ],
)
def test_a_file_that_cannot_be_read_is_never_patched(broken: dict[str, Any]) -> None:
    """What is unknown is not fixed."""
    given = state(files={CONFIG: broken})
    assert Outcome.UNKNOWN is judged("docker-icc", given).outcome
    plan = plan_host(given, baseline("docker-icc"), Policy(Safety.UNSAFE, Disruption.MIGRATE))
    assert (plan.changes, plan.held, plan.patches) == ((), (), {})


def test_a_link_is_not_patched_through() -> None:
    """daemon.json as a link is judged by what it leads to, and held with the target named."""
    linked = {**file('{"icc": true}'), "type": "link", "target": "/opt/daemon.json", "target_type": "file"}
    plan = plan_host(state(files={CONFIG: linked}), baseline("docker-icc"), Policy(Safety.UNSAFE, Disruption.RESTART))
    assert [one.reason for one in plan.held] == ["daemon.json is a link to /opt/daemon.json: change it there"]


def test_unknown_keys_and_their_order_are_kept() -> None:
    """One key is changed in place, and nothing else in the text."""
    text = '{\n    "zzz": {"b": 1, "a": 2},\n    "icc": true,\n    "aaa": []\n}'
    plan = plan_host(state(text), baseline("docker-icc"), Policy(Safety.UNSAFE, Disruption.RESTART))
    assert [text.replace('"icc": true', '"icc": false')] == [one.content for one in plan.steps.files]


def test_an_absent_file_is_made() -> None:
    """Without a daemon.json one is written, guarded by there being none."""
    plan = plan_host(state(None), baseline("docker-icc"), Policy(Safety.UNSAFE, Disruption.RESTART))
    (edit,) = plan.steps.files
    assert isinstance(edit, FileEdit)
    assert (edit.before, edit.content, edit.mode) == ("", '{\n  "icc": false\n}\n', "0644")


def test_conditions_decide_whether_a_control_applies() -> None:
    """A control for a swarm, TCP or old engines is not applicable elsewhere, and unknown without an engine."""
    chosen = baseline("docker-tlsverify", "docker-no-aufs", "docker-live-restore")
    here = state("{}", found=engine())
    assert {one.control: one.outcome for one in audit(here, chosen)} == {
        "docker-tlsverify": Outcome.NOT_APPLICABLE,
        "docker-no-aufs": Outcome.NOT_APPLICABLE,
        "docker-live-restore": Outcome.FAIL,
    }
    swarm = engine(info={"Swarm": {"LocalNodeState": "active"}, "ServerVersion": "20.10.24"})
    there = state('{"hosts": ["tcp://0.0.0.0:2375"]}', found=swarm)
    assert {one.control: one.outcome for one in audit(there, chosen)} == {
        "docker-tlsverify": Outcome.FAIL,
        "docker-no-aufs": Outcome.PASS,
        "docker-live-restore": Outcome.NOT_APPLICABLE,
    }
    nowhere = state("{}")
    assert [one.outcome for one in audit(nowhere, chosen)] == [Outcome.NOT_APPLICABLE, Outcome.UNKNOWN, Outcome.UNKNOWN]


def test_evidence_is_not_changed_by_judging() -> None:
    """Kinds are pure: the evidence is the same afterwards."""
    given = evidence('{"icc": true}', daemon={}, found=engine(icc="true"))
    kept = json.dumps(given)
    from remediator import kinds

    plan_host(kinds.state(given), baseline(), Policy(Safety.UNSAFE, Disruption.RESTART))
    assert kept == json.dumps(given)
