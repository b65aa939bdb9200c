"""Plans: pure, complete, bound to what they were made for, and never more than the policy allows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator import kinds
from remediator.audit import audit, tally
from remediator.baseline import Baseline, load_baseline
from remediator.errors import InputError, PlanRefusedError
from remediator.expect import same
from remediator.kinds.text import parse_json
from remediator.model import Disruption, FileEdit, HostState, Outcome, Safety
from remediator.patch import apply
from remediator.plan import saved
from remediator.plan.model import HostPlan, Plan, Policy
from remediator.plan.plan import make, plan_host, seal
from tests.unit.host import (
    CONFIG,
    ENVIRONMENT,
    GIB,
    MIB,
    RULES,
    applied,
    baseline,
    engine,
    evidence,
    file,
    inspect,
    state,
)
from tests.unit.strategies import objects, written

NOW: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL: Final = Policy(Safety.UNSAFE, Disruption.MIGRATE)
RESTART: Final = Policy(Safety.UNSAFE, Disruption.RESTART)
LIVE: Final = {"memory": 10 * MIB, "memory_peak": 100 * MIB, "pids": 20}
CIS: Final = load_baseline()


def held(plan: HostPlan) -> dict[str, str]:
    """Why findings are held, by control."""
    return {one.finding.control: one.reason for one in plan.held}


def planned(plan: HostPlan) -> set[str]:
    """The controls whose findings will be fixed."""
    return {one.control for one in plan.findings}


def busy() -> HostState:
    """A host with a bit of everything: settings, files, rules, containers that run and that do not."""
    found = engine(
        inspect("web", networks=["bridge"]),
        inspect("db"),
        inspect("old", running=False),
        live={"web": LIVE, "db": LIVE},
    )
    files = {
        ENVIRONMENT: file("PATH=/bin\n"),
        RULES: file("-w /etc/docker -p r\n"),
        "/etc/docker": {"type": "directory", "mode": "0777", "owner": "root:root"},
        CONFIG: file('{"icc": true, "live-restore": false}', mode="0666"),
    }
    return state(files=files, daemon={}, found=found, root="/", about={"memory": 16 * GIB})


# --- policy and counts ------------------------------------------------------------------------------


@pytest.mark.parametrize("fix", [Safety.SAFE, Safety.UNSAFE])
@pytest.mark.parametrize("most", list(Disruption))
def test_a_plan_does_no_more_than_its_policy(fix: Safety, most: Disruption) -> None:
    """Every change is safe enough and disrupts little enough, and the numbers add up."""
    given_ = busy()
    plan = plan_host(given_, CIS, Policy(fix, most))
    assert all(one.safety >= fix and one.disruption <= most and not one.blocked for one in plan.changes)
    assert all(one.reason for one in plan.held)
    findings = audit(given_, CIS)
    assert len(findings) == sum(plan.counts[outcome.value] for outcome in Outcome) == plan.counts["findings"]
    assert plan.counts["fail"] == plan.counts["planned"] + plan.counts["held"]
    assert (plan.counts["planned"], plan.counts["held"]) == (len(plan.findings), len(plan.held))
    rest = len(plan.others) + plan.counts["pass"]
    assert len(findings) == len(plan.findings) + len(plan.held) + rest
    assert tally(findings) == {key: plan.counts[key] for key in tally(findings)}


def test_more_is_planned_the_more_is_allowed() -> None:
    """Each step of the policy adds findings and takes none away."""
    sizes = [plan_host(busy(), CIS, Policy(Safety.UNSAFE, most)).counts["planned"] for most in Disruption]
    assert sorted(sizes) == sizes
    assert sizes[0] < sizes[2]
    safe = plan_host(busy(), CIS, Policy(Safety.SAFE, Disruption.MIGRATE))
    assert planned(safe) < planned(plan_host(busy(), CIS, ALL))


@pytest.mark.parametrize(
    ("control", "policy", "reason"),
    [
        ("docker-icc", Policy(Safety.SAFE, Disruption.MIGRATE), "needs --fix unsafe"),
        ("docker-icc", Policy(Safety.UNSAFE, Disruption.RELOAD), "needs --max-disruption restart"),
        ("docker-live-restore", Policy(Safety.UNSAFE, Disruption.NONE), "needs --max-disruption reload"),
        ("docker-userns-remap", ALL, "manual: "),
        ("docker-log-driver", ALL, "manual: give "),
        ("container-readonly-rootfs", ALL, "nobody is known who creates this container"),
    ],
)
def test_what_is_held_says_why(control: str, policy: Policy, reason: str) -> None:
    """Nothing that fails is left out in silence."""
    given_ = state("{}", daemon={}, found=engine(inspect("db"), live={"db": LIVE}))
    assert held(plan_host(given_, baseline(control), policy))[control].startswith(reason)


def test_in_a_file_tree_nothing_is_activated() -> None:
    """Where nothing runs, a file that is right is right, and rules that are not compiled are held."""
    given_ = state(files={RULES: file("-w /etc/docker -p wa\n"), "/etc/docker": file()})
    plan = plan_host(given_, baseline("audit-etc-docker"), ALL)
    assert held(plan) == {"audit-etc-docker": "a file tree: nothing runs here that could take it up"}


# --- conflicts --------------------------------------------------------------------------------------


def test_live_restore_is_not_switched_on_in_a_swarm() -> None:
    """The daemon would not start with both."""
    swarm = engine(info={"Swarm": {"LocalNodeState": "active"}})
    always = [
        msgspec.structs.replace(one, when={}) for one in baseline("docker-live-restore", "docker-experimental").controls
    ]
    plan = plan_host(state("{}", daemon={}, found=swarm), Baseline("test", tuple(always)), RESTART)
    assert (set(), ["docker-live-restore"]) == (planned(plan), list(held(plan)))
    assert "swarm" in held(plan)["docker-live-restore"]


@pytest.mark.parametrize(("config", "argv"), [('{"iptables": false}', []), ("{}", ["--iptables=false"])])
def test_icc_is_not_switched_off_without_iptables(config: str, argv: list[str]) -> None:
    """The daemon would not start with both; where iptables is switched on as well, it does."""
    given_ = state(config, daemon={"argv": ["dockerd", *argv]})
    plan = plan_host(given_, baseline("docker-icc"), RESTART)
    assert "iptables" in held(plan)["docker-icc"]
    both = plan_host(given_, baseline("docker-icc", "docker-iptables"), RESTART)
    assert ({"docker-icc", "docker-iptables"} if not argv else set()) == planned(both)


def test_without_a_docker_command_nothing_is_planned_that_needs_it() -> None:
    """Containers are updated by it, and what the daemon does is proved by it; files are changed all the same."""
    controls = ("docker-icc", "container-cpu-shares", "env-content-trust")
    for running, expected in (({}, {"env-content-trust"}), (None, {"env-content-trust", "docker-icc"})):
        found = engine(inspect("web"), live={"web": {"memory": MIB}})
        given_ = state("{}", daemon=running, found=found, root="/", about={"commands": ["dockerd"]})
        plan = plan_host(given_, baseline(*controls), RESTART)
        assert expected == planned(plan)
        assert {"there is no docker command on this host to make it take effect with"} == set(held(plan).values())


def test_icc_under_live_restore_needs_its_containers_stopped() -> None:
    """A restart that containers survive does not take icc up: the change says so, and names them."""
    found = engine(inspect("web", networks=["bridge"]), icc="true", info={"LiveRestoreEnabled": True})
    given_ = state('{"live-restore": true}', daemon={}, found=found, root="/")
    reason = held(plan_host(given_, baseline("docker-icc"), RESTART))["docker-icc"]
    assert reason.startswith("needs --max-disruption recreate")
    plan = plan_host(given_, baseline("docker-icc"), ALL)
    assert Disruption.RECREATE is plan.changes[0].disruption
    assert "web" in plan.changes[0].evidence[0]
    assert (plan.steps.activation.action, plan.steps.activation.stop) == ("restart", ("web",))
    assert any("web" in note for note in plan.notes)


def test_memory_limits_that_are_too_much_for_the_host_are_held() -> None:
    """All limits together, also those that are there, stay within the baseline's part of the memory."""
    found = engine(
        inspect("a"), inspect("b"), inspect("big", {"Memory": 8 * GIB}), live={"a": LIVE, "b": LIVE, "big": LIVE}
    )
    enough = state(found=found, about={"memory": 16 * GIB}, root="/", daemon={})
    assert len(plan_host(enough, baseline("container-memory"), RESTART).findings) == 2
    small = state(found=found, about={"memory": 9 * GIB}, root="/", daemon={})
    plan = plan_host(small, baseline("container-memory"), RESTART)
    assert (set(), 2) == (planned(plan), len(plan.held))
    assert "host_share" in held(plan)["container-memory"]
    more = baseline("container-memory", parameters={"memory": {"host_share": 2.0}})
    assert len(plan_host(small, more, RESTART).findings) == 2


def test_one_restart_serves_all_changes() -> None:
    """A reload is enough for what the daemon reloads; anything else restarts it once."""
    given_ = state("{}", daemon={}, found=engine(), root="/")
    reload = plan_host(given_, baseline("docker-live-restore"), RESTART).steps.activation
    both = plan_host(given_, baseline("docker-live-restore", "docker-userland-proxy"), RESTART).steps.activation
    none = plan_host(given_, baseline("env-content-trust"), RESTART).steps.activation
    assert (reload.action, both.action, none.action) == ("reload", "restart", "none")
    assert (reload.reload_first, both.reload_first) == (False, True)


# --- waivers and tailoring --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiver", "outcome"),
    [
        ({"expires": "2026-11-23"}, Outcome.WAIVED),
        ({"expires": "2027-01-01"}, Outcome.WAIVED),
        ({"expires": "2026-11-22"}, Outcome.FAIL),
        ({"expires": "2027-01-01", "resource": "/etc/*"}, Outcome.WAIVED),
        ({"expires": "2027-01-01", "resource": "/opt/*"}, Outcome.FAIL),
    ],
)
def test_a_waiver_holds_until_its_day_is_over(waiver: dict[str, str], outcome: Outcome) -> None:
    """What is waived is told and not changed, and comes back when the waiver ends."""
    full = {"control": "docker-icc", "reason": "links", "approver": "jane", **waiver}
    chosen = baseline("docker-icc", waivers=[full])
    (found,) = audit(state("{}"), chosen)
    assert outcome is found.outcome
    assert (outcome is Outcome.WAIVED) == ("accepted by jane" in found.reason)
    plan = plan_host(state("{}"), chosen, ALL)
    assert (1 if outcome is Outcome.FAIL else 0) == len(plan.changes)
    assert plan.counts["findings"] == 1


def test_a_waiver_of_what_passes_changes_nothing() -> None:
    """Only a failing finding can be accepted."""
    full = {"control": "docker-icc", "reason": "x", "approver": "jane", "expires": "2027-01-01"}
    (found,) = audit(state('{"icc": false}'), baseline("docker-icc", waivers=[full]))
    assert Outcome.PASS is found.outcome


def test_tailoring_says_the_value_and_makes_it_a_fix() -> None:
    """What only a person can know is in the baseline, and is then made like any other change."""
    chosen = baseline("docker-log-driver", tailoring={"docker-log-driver": {"expect": {"eq": "syslog"}}})
    (edit,) = plan_host(state("{}"), chosen, RESTART).steps.files
    assert parse_json(edit.content) == {"log-driver": "syslog"}


@pytest.mark.parametrize(
    "more",
    [
        {"tailoring": {"docker-icc": {"expect": {"equals": 1}}}},
        {"tailoring": {"no-such": {}}},
        {"exclude": ["no-such"]},
        {"waivers": [{"control": "no-such", "reason": "", "approver": "", "expires": "2027-01-01"}]},
        {"waivers": [{"control": "docker-icc", "reason": "", "approver": "", "expires": "soon"}]},
    ],
)
def test_a_baseline_with_a_slip_is_refused(more: dict[str, Any]) -> None:
    """Controls that are not there, and dates and operators that are none, are told."""
    with pytest.raises(InputError):
        baseline("docker-icc", **more)


# --- purity -----------------------------------------------------------------------------------------

settings = st.one_of(
    objects,
    st.fixed_dictionaries(
        {},
        optional={
            "icc": st.sampled_from([True, False, 0, "false", None]),
            "insecure-registries": st.lists(st.sampled_from(["127.0.0.0/8", "r:5000", 5]), max_size=3),
            "default-ulimits": st.sampled_from([{}, {"nofile": 1}, None]),
            "log-level": st.sampled_from(["info", "debug", ""]),
            "userland-proxy": st.booleans(),
            "storage-opts": st.lists(st.sampled_from(["dm.basesize=1", "a=b", 5]), max_size=3),
            "log-opts": st.just({"splunk-token": "s", "tag": "{{.Name}}"}),
            "live-restore": st.sampled_from([True, False, 1]),
        },
    ),
)
variables = st.sampled_from(["", "A=1", "DOCKER_CONTENT_TRUST=0\n", "DOCKER_CONTENT_TRUST=1", "X='\nY\n"])
rules = st.sampled_from(
    ["", "-w /etc/docker -p r -k x", "# c\n-w /etc/docker -p wa\n", "-a never,exit -F dir=/etc/docker\n"]
)


@given(document=settings, environment=variables, rule=rules, data=st.data())
def test_planning_what_was_planned_changes_nothing(
    document: Any, environment: str, rule: str, data: st.DataObject
) -> None:
    """The planned texts, read again, are the planned documents, and leave nothing to plan."""
    files = {ENVIRONMENT: file(environment), RULES: file(rule), "/etc/docker": file()}
    before = evidence(data.draw(written(document)), files=files)
    plan = plan_host(kinds.state(before), CIS, ALL)
    assert not any(one.kind not in ("daemon", "env", "audit_rule") for one in plan.changes)
    after = kinds.state(applied(before, plan.steps.files))
    again = plan_host(after, CIS, ALL)
    assert again.changes == ()
    assert not again.steps
    for kind, resources in plan.patches.items():
        for resource, patch in resources.items():
            old, new = kinds.state(before).facts[kind][resource], after.facts[kind][resource]
            assert same(new.document, apply(old.document, patch))


def test_the_same_inputs_give_the_same_bytes() -> None:
    """A plan depends on state, baseline, policy and time alone, not on the order of dictionaries."""
    one = saved.encode(make([busy()], CIS, RESTART, NOW))
    copied = msgspec.json.decode(msgspec.json.encode(busy()), type=HostState)
    assert one == saved.encode(make([copied], load_baseline(), RESTART, NOW))


def test_planning_leaves_the_state_alone() -> None:
    """Audit and plan change nothing of what they are given."""
    given_ = busy()
    kept = msgspec.json.encode(given_)
    plan_host(given_, CIS, ALL)
    assert kept == msgspec.json.encode(given_)


# --- saved plans ------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A saved plan."""
    path = tmp_path / "plan.json"
    path.write_bytes(saved.encode(make([busy()], CIS, RESTART, NOW)))
    return path


def test_a_saved_plan_is_the_plan(path: Path) -> None:
    """Nothing is lost by saving."""
    plan = saved.load(path)
    assert make([busy()], CIS, RESTART, NOW) == plan
    assert seal(plan).digest == plan.digest


def leaves(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all scalars of a document."""
    if isinstance(document, dict):
        return [leaf for key, one in document.items() for leaf in leaves(one, (*path, key))]
    if isinstance(document, list):
        return [leaf for index, one in enumerate(document) for leaf in leaves(one, (*path, index))]
    return [path]


@given(data=st.data())
def test_an_altered_plan_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever single value is changed, the plan is not used."""
    document = json.loads(saved.encode(make([busy()], CIS, RESTART, NOW)))
    way = data.draw(st.sampled_from(leaves(document)))
    target = document
    for step in way[:-1]:
        target = target[step]
    old = target[way[-1]]
    target[way[-1]] = not old if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else f"{old}x"
    altered = tmp_path_factory.getbasetemp() / "altered.json"
    altered.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises((PlanRefusedError, InputError)):
        saved.load(altered)


def test_altered_bytes_are_refused_with_the_reason(path: Path) -> None:
    """One other value in a step is found out by the digest."""
    path.write_bytes(path.read_bytes().replace(b'"0644"', b'"0666"', 1))
    with pytest.raises(PlanRefusedError, match="altered"):
        saved.load(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a plan"),
        (b"[]", "not a plan"),
        (b"{}", "not a plan"),
        (b"\xff", "not a plan"),
        (b'{"format_version": 99}', "format version 99"),
        (b'{"format_version": 1, "surprise": true}', "not a plan"),
        (b"[" * 10_000, "not a plan"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """Other files, and plans of another version, are told apart from altered ones."""
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        saved.load(tmp_path / "plan.json")


def test_a_plan_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A path without a file, and one of a directory, are told."""
    with pytest.raises(InputError, match="no such file"):
        saved.load(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="directory"):
        saved.load(tmp_path)


def test_a_plan_expires() -> None:
    """From the second on in which it expires it is refused, in any time zone."""
    plan = make([busy()], CIS, RESTART, NOW, lifetime=timedelta(hours=1))
    saved.check_time(plan, NOW + timedelta(minutes=59))
    for late in (NOW + timedelta(hours=1), NOW + timedelta(days=9)):
        with pytest.raises(PlanRefusedError, match="expired"):
            saved.check_time(plan, late)


def test_a_plan_without_steps_changes_nothing() -> None:
    """Nothing that fails, or nothing that may be fixed, is an empty plan."""
    plan: Plan = make([state('{"icc": false}')], baseline("docker-icc"), ALL, NOW)
    assert (plan.hosts[0].changes, bool(plan.hosts[0].steps)) == ((), False)
    assert tuple(one for one in plan.hosts[0].steps.files if isinstance(one, FileEdit)) == ()
