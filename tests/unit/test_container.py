"""Containers: limits derived from use, what a live update can change, and what has to be made anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.audit import audit
from remediator.baseline import BaselineFile
from remediator.errors import InputError
from remediator.model import Disruption, Finding, LiveUpdate, Outcome, Safety
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host
from tests.unit.host import GIB, MIB, baseline, engine, inspect, state

LIVE = {"memory": 10 * MIB, "memory_peak": 100 * MIB, "pids": 20, "no_new_privileges": False}
UNSAFE = Policy(Safety.UNSAFE, Disruption.RESTART)


def judged(control: str, host: dict[str, Any] | None = None, live: Any = None, **more: Any) -> Finding:
    """The finding of a control on the one container of a host."""
    parameters, info = more.pop("parameters", {}), more.pop("info", {})
    found = engine(inspect("db", host, **more), info=info, live={"db": LIVE if live is None else live})
    (one,) = audit(state(found=found), baseline(control, parameters=parameters))
    return one


def planned(found: dict[str, Any], *controls: str, **more: Any) -> HostPlan:
    """The plan of controls on containers of an engine that runs."""
    return plan_host(state(found=found, **more), baseline(*controls), UNSAFE)


@pytest.mark.parametrize(
    ("live", "parameters", "limit"),
    [
        ({"memory_peak": 100 * MIB}, {}, 224 * MIB),
        ({"memory_peak": 96 * MIB}, {}, 192 * MIB),
        ({"memory_peak": 96 * MIB + 1}, {}, 224 * MIB),
        ({"memory": 100 * MIB, "memory_peak": 0}, {}, 224 * MIB),
        ({"memory": 100 * MIB, "memory_peak": 50 * MIB}, {}, 224 * MIB),
        ({"memory_peak": 1}, {}, 64 * MIB),
        ({"memory_peak": 1}, {"minimum": 0, "round_to": 1}, 6 * MIB),
        ({"memory_peak": 100 * MIB}, {"headroom": 1.0, "round_to": 1}, 100 * MIB),
    ],
)
def test_a_memory_limit_is_derived_from_use(live: dict[str, int], parameters: dict[str, Any], limit: int) -> None:
    """Peak use times the headroom, rounded up, never below the minimum; swap as much again."""
    found = judged("container-memory", live=live, parameters={"memory": parameters})
    assert [("/HostConfig/Memory", limit), ("/HostConfig/MemorySwap", 2 * limit)] == [
        (one.path, one.after) for one in found.changes
    ]
    assert [one.before for one in found.changes] == [0, 0]


@given(
    peak=st.integers(min_value=1, max_value=64 * GIB),
    headroom=st.floats(min_value=1, max_value=8),
    step=st.integers(min_value=1, max_value=GIB),
)
def test_a_memory_limit_is_never_below_the_use(peak: int, headroom: float, step: int) -> None:
    """No parameters that a baseline can hold make a limit that ends the container at once."""
    parameters = {"memory": {"headroom": headroom, "round_to": step, "minimum": 0}}
    found = judged("container-memory", live={"memory_peak": peak}, parameters=parameters)
    limit = found.changes[0].after
    assert limit >= max(peak, 6 * MIB)
    assert limit < max(peak * headroom + step + 1, 6 * MIB + 1)


@pytest.mark.parametrize(
    "parameters",
    [
        {"memory": {"headroom": 0.5}},
        {"memory": {"round_to": 0}},
        {"memory": {"minimum": -1}},
        {"memory": {"host_share": 0}},
        {"pids": {"headroom": 0}},
        {"pids": {"round_to": 0}},
        {"cpu_shares": 1},
        {"cpu_shares": "512"},
        {"memory": {"headrom": 2}},
    ],
)
def test_parameters_that_would_break_containers_are_refused(parameters: dict[str, Any]) -> None:
    """A headroom below the use, or rounding to nothing, is no baseline."""
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": "x", "parameters": parameters}, BaselineFile)


@pytest.mark.parametrize("control", ["container-memory", "container-pids"])
def test_without_a_measured_use_the_change_is_held(control: str) -> None:
    """A container that does not run gets no limit out of thin air."""
    found = engine(inspect("db", running=False))
    plan = planned(found, control)
    assert plan.changes == ()
    assert [one.reason for one in plan.held] == ["no measured use to derive a limit from: the container does not run"]


@pytest.mark.parametrize("host", [{"Memory": 512 * MIB}, {"PidsLimit": 5}])
def test_a_limit_that_is_there_is_left_alone_even_unmeasured(host: dict[str, int]) -> None:
    """Whatever the limit is, someone set it."""
    control = "container-memory" if "Memory" in host else "container-pids"
    assert Outcome.PASS is judged(control, host, live={}).outcome


def test_without_swap_accounting_only_memory_is_set() -> None:
    """An engine that cannot limit swap is not asked to."""
    found = judged("container-memory", info={"SwapLimit": False})
    assert [one.path for one in found.changes] == ["/HostConfig/Memory"]


@pytest.mark.parametrize(
    ("control", "host", "after"),
    [
        ("container-pids", {"PidsLimit": None}, 128),
        ("container-pids", {"PidsLimit": 0}, 128),
        ("container-pids", {"PidsLimit": -1}, 128),
        ("container-cpu-shares", {"CpuShares": 0}, 512),
        ("container-cpu-shares", {"CpuShares": 1024}, 512),
        (
            "container-restart-policy",
            {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
            {"Name": "on-failure", "MaximumRetryCount": 5},
        ),
    ],
)
def test_live_limits_are_one_change_each(control: str, host: dict[str, Any], after: Any) -> None:
    """What `docker update` can change is planned without disruption."""
    (change,) = judged(control, host).changes
    assert (after, Disruption.NONE, "") == (change.after, change.disruption, change.blocked)


def test_pids_follow_use() -> None:
    """Many tasks get a limit above their number."""
    (change,) = judged("container-pids", live={"pids": 100}).changes
    assert change.after == 448


@pytest.mark.parametrize(
    ("control", "host"),
    [
        ("container-privileged", {"Privileged": True}),
        ("container-readonly-rootfs", {"ReadonlyRootfs": False}),
        ("container-host-pid", {"PidMode": "host"}),
        ("container-seccomp", {"SecurityOpt": ["seccomp=unconfined"]}),
        ("container-no-new-privileges", {"SecurityOpt": []}),
        ("container-capabilities", {"CapAdd": ["NET_ADMIN"]}),
    ],
)
def test_what_is_fixed_at_creation_is_held_where_nobody_owns_it(control: str, host: dict[str, Any]) -> None:
    """A container that would have to be made anew, by nobody knows whom, is not touched."""
    plan = planned(engine(inspect("db", host), live={"db": LIVE}), control)
    (held,) = plan.held
    assert plan.changes == ()
    assert held.reason.startswith("nobody is known who creates this container: ")


def test_a_daemons_default_is_seen_in_the_process() -> None:
    """no-new-privileges by the daemon's default does not show in the run config, but in /proc."""
    assert Outcome.FAIL is judged("container-no-new-privileges").outcome
    assert Outcome.PASS is judged("container-no-new-privileges", live={"no_new_privileges": True}).outcome
    assert Outcome.PASS is judged("container-no-new-privileges", {"SecurityOpt": ["no-new-privileges:true"]}).outcome
    assert Outcome.FAIL is judged("container-no-new-privileges", {"SecurityOpt": ["no-new-privileges=false"]}).outcome
    assert Outcome.FAIL is judged("container-seccomp", {"SecurityOpt": ["seccomp=unconfined"]}, {**LIVE}).outcome


def test_a_swarm_task_keeps_its_restart_policy() -> None:
    """The service decides whether a task is started again."""
    host = {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}
    swarm = "com.docker.swarm."
    labels = {swarm + "service.id": "abc", swarm + "service.name": "shop", swarm + "task.name": "db"}
    assert Outcome.NOT_APPLICABLE is judged("container-restart-policy", host, labels=labels).outcome
    assert Outcome.FAIL is judged("container-memory", host, labels=labels).outcome


def test_a_container_run_with_rm_keeps_its_restart_policy() -> None:
    """--rm excludes a restart policy; limits can still be set."""
    host = {"AutoRemove": True, "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}}
    (change,) = judged("container-restart-policy", host).changes
    assert change.blocked == "runs with --rm, which excludes a restart policy"
    assert [one.blocked for one in judged("container-memory", host).changes] == ["", ""]


def test_containers_with_the_same_values_are_updated_together() -> None:
    """One command for all that get the same limits, another for the rest."""
    found = engine(
        *(inspect(name) for name in ("a", "b", "c")), live={"a": LIVE, "b": LIVE, "c": {**LIVE, "memory_peak": GIB}}
    )
    plan = planned(found, "container-memory")
    assert (
        LiveUpdate(("a", "b"), {"Memory": 224 * MIB, "MemorySwap": 448 * MIB}),
        LiveUpdate(("c",), {"Memory": 2 * GIB, "MemorySwap": 4 * GIB}),
    ) == plan.steps.updates


def test_changes_say_what_they_rest_on() -> None:
    """A reader of the plan sees the measured use."""
    assert judged("container-memory").changes[0].evidence[0] == "uses 10 MiB, at its peak 100 MiB"
    assert judged("container-pids").changes[0].evidence[0] == "runs 20 tasks"


@pytest.mark.parametrize(
    ("written", "tmpfs", "told"),
    [
        (None, None, "what it writes outside of its volumes is not known"),
        ([], None, "writes nothing outside of its volumes"),
        (["/tmp/x", "/run/app.pid"], {"/tmp": "", "/run": ""}, "writes to /tmp, /run only"),
        (["/tmp/x", "/app/db"], {"/tmp": ""}, "writes to /app/db: needs a volume or tmpfs there"),
        (["/tmpfile"], None, "writes to /tmpfile: needs a volume or tmpfs there"),
    ],
)
def test_a_read_only_root_comes_with_tmpfs_for_scratch_files(
    written: list[str] | None, tmpfs: dict[str, str] | None, told: str
) -> None:
    """What a container was seen to write decides which tmpfs it gets, and what is said of the rest."""
    live = {**LIVE, "written": written} if written is not None else LIVE
    root, *rest = judged("container-readonly-rootfs", live=live).changes
    assert (root.after, root.evidence) == (True, (told,))
    assert [one.after for one in rest] == ([tmpfs] if tmpfs else [])


@pytest.mark.parametrize("tailored", [{"set_if": {"unset": [0], "to": 5 * GIB}}, {"eq": 5 * GIB}])
def test_a_tailored_limit_needs_no_measured_use(tailored: Any) -> None:
    """A baseline that says the value says it for containers that do not run as well."""
    chosen = baseline("container-memory", tailoring={"container-memory": {"expect": tailored}})
    (found,) = audit(state(found=engine(inspect("db", running=False))), chosen)
    assert [(one.after, one.blocked) for one in found.changes] == [(5 * GIB, ""), (10 * GIB, "")]


def test_a_derivation_that_nobody_knows_is_refused() -> None:
    """A slip in a baseline is told as one."""
    tailored = {"container-memory": {"expect": {"set_if": {"unset": [0], "to": {"derive": "memory"}}}}}
    with pytest.raises(InputError, match="memory"):
        audit(state(found=engine(inspect("db"))), baseline("container-memory", tailoring=tailored))


def test_hostile_names_are_data() -> None:
    """A container may be called anything: its name goes through as it is."""
    name = "{{ lookup('pipe', 'id') }}"
    plan = planned(engine(inspect(name), live={name: LIVE}), "container-memory")
    assert (name,) == plan.steps.updates[0].names
