"""A configuration is held against what the engine takes before anything is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from remediator.dockerd.check import Candidate, Fault, Host, check, unknown
from remediator.dockerd.flags import parse
from remediator.dockerd.options import GENERATIONS, KEYS, engine
from remediator.dockerd.start import Start, Word
from remediator.dockerd.types import size
from remediator.kinds.text import parse_json
from remediator.model import Disruption, Safety
from remediator.plan import candidate
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host
from tests.cases import ENGINES, Configuration, configurations
from tests.unit import host
from tests.unit.host import CONFIG, UNIT, baseline, file, state

CASES = configurations()
NAMED = Host(
    paths={
        **dict.fromkeys(("/nope", "/nope.json", "/usr/bin/nope", "/sys/class/net/br0"), "absent"),
        "/etc": "directory",
        "/etc/hostname": "file",
        "/usr/sbin/runc": "file",
    },
    users={"nobodyhere": {"known": False, "ranges": False}, "www-data": {"known": True, "ranges": False}},
    groups={"nogroup-here": False},
)
UNSAFE = Policy(Safety.UNSAFE, Disruption.RECREATE)


def faults(case: Configuration, version: str) -> list[Fault]:
    """What the product says of a configuration on an engine."""
    text = case.config if isinstance(case.config, str) else json.dumps(case.config)
    argv = ["/usr/sbin/dockerd", *case.flags]
    flags = {key: {**one, "where": ""} for key, one in parse(argv).items()}
    begin = Start(tuple(Word(one) for one in argv))
    return check(Candidate(CONFIG, text, parse_json(text), version, begin, {}, flags, NAMED))


@pytest.mark.parametrize("case", CASES, ids=lambda one: one.name)
def test_what_an_engine_refuses_is_refused_and_nothing_else(case: Configuration) -> None:
    """On each generation the verdict is the one that the engine itself gives, and the reason names what is wrong."""
    for generation, end in case.ends.items():
        found = faults(case, ENGINES[generation])
        levels = {one.level for one in found}
        assert end == ("" if not found else "run" if levels == {"run"} else "start"), (generation, found)
        if end and case.says:
            assert any(case.says in one.reason for one in found), found


def test_there_are_enough_bad_configurations() -> None:
    """At least forty, each of which some engine refuses."""
    assert sum(any(case.ends.values()) for case in CASES) >= 40


@pytest.mark.parametrize(
    ("version", "generation", "said"),
    [
        ("20.10.24+dfsg1", 20, False),
        ("24.0.7", 24, False),
        ("19.03.15", 20, True),
        ("22.06.0-beta", 23, True),
        ("30.1.0", 29, True),
        ("", 29, True),
        ("dev", 29, True),
    ],
)
def test_an_unknown_version_is_checked_as_the_nearest_and_that_is_said(
    version: str, generation: int, said: bool
) -> None:
    """No engine goes unchecked, and nobody believes that its own rules were known."""
    found = engine(version)
    assert generation == found.generation
    assert said is bool(found.note)


def test_keys_that_only_a_newer_engine_may_know_are_noted() -> None:
    """What is not known is not refused where it may be right."""
    bare = Candidate(CONFIG, '{"brand-new": 1}', {"brand-new": 1}, "31.0.0")
    assert check(bare) == []
    assert unknown(bare) == ["brand-new"]
    assert [len(check(bare._replace(version=one))) for one in ("29.1.0",)] == [1]


def test_every_generation_has_keys_of_its_own_times() -> None:
    """The table knows what came and what went."""
    assert {"oom-score-adjust", "cluster-store"} <= KEYS[20].keys() - KEYS[26].keys()
    assert {"proxies", "log-format", "cdi-spec-dirs"} <= KEYS[26].keys() - KEYS[20].keys()
    assert {"firewall-backend"} <= KEYS[GENERATIONS[-1]].keys() - KEYS[28].keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10m", 10 * 2**20), ("1.5 GiB", 3 * 2**29), ("0", 0), ("7", 7), ("10 megs", None), ("-1", None), ("", None)],
)
def test_sizes_are_read_as_the_engine_reads_them(text: str, expected: int | None) -> None:
    """Numbers with a unit of binary bytes; anything else is no size."""
    assert expected == size(text)


# --- the plan -------------------------------------------------------------------------------------


def planned(config: str, *controls: str, swarm: bool = False, stale: bool = True, **more: Any) -> HostPlan:
    """The plan of a host whose daemon.json someone may have written after the daemon's start."""
    info = {"Swarm": {"LocalNodeState": "active"}} if swarm else {}
    info.update({"ServerVersion": more.pop("version", "28.5.2")})
    files = {CONFIG: file(config, changed=3000.0 if stale else 1000.0), **more.pop("files", {})}
    daemon = {"argv": ["dockerd", *more.pop("argv", ())], "started": 2000.0}
    given = state(files=files, daemon=daemon, found=host.engine(info=info), **more)
    return plan_host(given, baseline(*controls), UNSAFE)


def reasons(plan: HostPlan) -> list[str]:
    """Why findings are held."""
    return [one.reason for one in plan.held]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ('{"debug": true,\n "no-such-key": 1}', f"{CONFIG}:2: no-such-key: is no option of this engine"),
        ('{"icc": true, "mtu": "1500"}', f"{CONFIG}:1: mtu: has to be a whole number"),
        ('{"log-opts": {"max-sizes": "1m"}}', "max-sizes is no option of the log driver json-file"),
    ],
)
def test_a_fault_that_was_there_before_holds_the_daemon_s_changes(config: str, told: str) -> None:
    """A restart for our change must not be what brings someone else's mistake into effect."""
    plan = planned(config, "docker-icc", "docker-userland-proxy")
    assert plan.changes == ()
    assert plan.steps.activation.action == "none"
    assert [told in one for one in reasons(plan)] == [True, True]


def test_a_log_option_of_the_old_driver_holds_the_new_driver() -> None:
    """A tailored log driver beside options of json-file would stop the daemon."""
    expect = {"docker-log-driver": {"expect": {"eq": "journald"}, "safety": "unsafe"}}
    given = state(
        '{"log-opts": {"max-size": "10m"}}',
        daemon={"started": 2000.0},
        found=host.engine(info={"ServerVersion": "28.5.2"}),
    )
    plan = plan_host(given, baseline("docker-log-driver", "docker-icc", tailoring=expect), UNSAFE)
    assert [one.path for one in plan.changes] == ["/icc"]
    assert any("max-size is no option of the log driver journald" in one for one in reasons(plan))


def test_what_the_running_daemon_has_read_is_no_fault() -> None:
    """The engine knows better than the table: keys of a vendor's build are left alone."""
    plan = planned('{"vendor-key": 1}', "docker-icc", stale=False)
    assert [one.path for one in plan.changes] == ["/icc"]


def test_a_change_that_takes_the_fault_away_is_made() -> None:
    """icc and iptables are false in the file: with iptables on, the daemon starts."""
    plan = planned('{"icc": false, "iptables": false}', "docker-iptables")
    assert [one.path for one in plan.changes] == ["/iptables"]


@pytest.mark.parametrize(("used", "held"), [([], True), (["opa"], False)])
def test_an_authorization_plugin_that_nobody_has_tried_holds_the_changes(used: list[str], held: bool) -> None:
    """Any reload takes it up, and where there is none the daemon refuses every request from then on."""
    found = host.engine(info={"ServerVersion": "28.5.2", "Plugins": {"Authorization": used}})
    given = state('{"authorization-plugins": ["opa"]}', daemon={"started": 2000.0}, found=found)
    plan = plan_host(given, baseline("docker-live-restore", "docker-icc"), UNSAFE)
    assert [one.path for one in plan.changes] == ([] if held else ["/live-restore", "/icc"])
    assert [f"{CONFIG}: authorization-plugins: opa is not taken up" in one for one in reasons(plan)] == [
        True
    ] * 2 * held


def test_live_restore_and_swarm_are_not_put_together() -> None:
    """The daemon would not come back from its next start."""
    plan = planned('{"live-restore": true}', "docker-icc", swarm=True, stale=False)
    assert ["swarm mode is on, which does not go with live-restore" in one for one in reasons(plan)] == [True]


@pytest.mark.parametrize(("text", "held"), [("\ufeff{}", True), ("{}", False)])
def test_a_byte_order_mark_stops_20_10_alone(text: str, held: bool) -> None:
    """An edit would keep the mark."""
    assert held is bool(planned(text, "docker-icc", version="20.10.24").held)
    assert not planned(text, "docker-icc", version="28.5.2").held


def test_an_engine_that_is_not_known_is_noted_in_the_plan() -> None:
    """The reader knows as what it was checked."""
    notes = planned('{"brand-new": 1}', "docker-icc", version="31.0.0").notes
    assert "daemon.json: engine 31.0.0 is not known: checked as for 29" in notes
    assert any("brand-new" in one for one in notes)


# --- dockerd --validate ---------------------------------------------------------------------------

LINE = "/usr/bin/dockerd -H fd:// --containerd=/run/c.sock --config-file /etc/docker/daemon.json"
UNITS = {UNIT: file(f"[Service]\nExecStart={LINE}\n")}


def test_the_candidate_is_tried_with_the_flags_of_the_next_start() -> None:
    """The own program, its own flags, and the new text in place of its file."""
    found = planned("{}", "docker-icc", files=UNITS, argv=LINE.split()[1:]).steps.activation.validate
    expected = ("/usr/bin/dockerd", "-H", "fd://", "--containerd=/run/c.sock", "--validate", "--config-file")
    assert (*expected, candidate.CANDIDATE) == found


@pytest.mark.parametrize(
    ("version", "line", "noted"),
    [
        ("20.10.24", LINE, False),
        ("28.5.2", f"{LINE} --http-proxy=http://****@proxy", True),
        ("28.5.2", f"{LINE} --label=host=%H", True),
        ("28.5.2", "/opt/wrapper", False),
    ],
)
def test_nothing_is_tried_where_it_would_not_be_the_same(version: str, line: str, noted: bool) -> None:
    """20.10 has no such switch, masks are never used, and specifiers are systemd's to fill in."""
    files = {UNIT: file(f"[Service]\nExecStart={line}\n")}
    plan = planned("{}", "docker-icc", files=files, argv=line.split()[1:], version=version)
    assert plan.steps.activation.action == "restart"
    if line != "/opt/wrapper":
        assert plan.steps.activation.validate == ()
    assert noted is any("--validate" in one for one in plan.notes)
