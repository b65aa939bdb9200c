"""What disturbs more than is allowed can be written and left pending, and is never taken for what is in effect."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from remediator.kinds.text import parse_json
from remediator.model import Disruption, HostState, Safety
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host
from tests.unit.host import CONFIG, UNIT, baseline, engine, file, inspect, state

RECORD = "/var/lib/remediator/activation.json"
LIVE = '{"live-restore": true}'


def busy(config: str = LIVE, live: bool = True, **more: Any) -> HostState:
    """A host with two containers on docker0, with or without live-restore."""
    found = engine(
        inspect("web", networks=["bridge"]),
        inspect("db", networks=["bridge"]),
        icc=more.pop("icc", "true"),
        info={"LiveRestoreEnabled": live, **more.pop("info", {})},
    )
    return state(config, daemon=more.pop("daemon", {}), found=found, root="/", **more)


def planned(given: HostState, *controls: str, most: Disruption = Disruption.RELOAD, **more: Any) -> HostPlan:
    """The plan for some controls, deferring by default."""
    fix, defer = more.pop("fix", Safety.UNSAFE), more.pop("defer", True)
    return plan_host(given, baseline(*controls, **more), Policy(fix, most, defer))


def held(plan: HostPlan) -> dict[str, str]:
    """Why findings are held, by control."""
    return {one.finding.control: one.reason for one in plan.held}


def test_what_is_held_for_its_disruption_offers_both_ways() -> None:
    """In words, with the containers that are concerned; with one way chosen the other is not told."""
    reason = held(planned(busy(), "docker-icc", most=Disruption.RESTART, defer=False))["docker-icc"]
    assert reason.startswith("needs --max-disruption recreate: live-restore is on: ")
    assert "web" in reason
    assert "db" in reason
    assert reason.endswith(
        "; or --defer, which writes it and leaves it pending until they next stop and the daemon is started"
    )
    (reason,) = held(planned(busy(live=False), "docker-no-new-privileges", defer=False)).values()
    assert reason == "needs --max-disruption restart"


def test_a_deferred_change_is_written_and_takes_nothing_up() -> None:
    """The file is edited and tried, nothing is interrupted, and the plan says that it is not in effect."""
    files = {UNIT: file("[Service]\nExecStart=/usr/bin/dockerd -H fd://\n")}
    plan = planned(busy(daemon={"argv": ["/usr/bin/dockerd", "-H", "fd://"]}, files=files), "docker-icc")
    (change,) = plan.changes
    assert (change.disruption, change.safety) == (Disruption.NONE, Safety.UNSAFE)
    assert change.deferred == "these next stop and the daemon is started: db, web"
    assert f"icc: written, and NOT in effect until {change.deferred}" in plan.notes
    (edit,) = plan.steps.files
    assert parse_json(edit.content)["icc"] is False
    activation = plan.steps.activation
    assert (activation.action, activation.expect, activation.stop) == ("none", (), ())
    assert activation.pending == ("icc",)
    assert [one["key"] for one in activation.deferred] == ["icc"]
    assert activation.validate[0] == "/usr/bin/dockerd"


def test_safety_is_what_it_was() -> None:
    """icc may break something whenever it takes effect."""
    assert held(planned(busy(), "docker-icc", fix=Safety.SAFE))["docker-icc"].startswith("needs --fix unsafe")


def test_what_is_allowed_is_not_deferred() -> None:
    """Only what would be held is left for later."""
    plan = planned(busy(), "docker-icc", most=Disruption.RECREATE)
    assert plan.steps.activation.action == "restart"
    assert not plan.changes[0].deferred
    both = planned(busy(), "docker-icc", "docker-no-new-privileges", most=Disruption.RESTART)
    activation = both.steps.activation
    assert (activation.action, activation.stop) == ("restart", ())
    assert [one["key"] for one in activation.expect] == ["no-new-privileges"]
    assert [one.control for one in both.changes if one.deferred] == ["docker-icc"]


def test_beside_a_reload_it_stays_pending() -> None:
    """A reload for live-restore leaves icc, which from then on waits for the containers as well."""
    activation = (plan := planned(busy("{}", live=False), "docker-icc", "docker-live-restore")).steps.activation
    assert (activation.action, activation.pending) == ("reload", ("icc",))
    assert [one["key"] for one in activation.expect] == ["live-restore"]
    assert [one.deferred for one in plan.changes if one.deferred] == [
        "these next stop and the daemon is started: db, web"
    ]
    alone = planned(busy("{}", live=False), "docker-icc")
    assert [one.deferred for one in alone.changes] == ["the daemon is next started"]


def test_a_daemon_that_would_not_start_later_is_not_written() -> None:
    """A candidate with a deferred key is held against the engine as any other."""
    plan = planned(busy('{"iptables": false}', live=False), "docker-icc")
    assert "iptables" in held(plan)["docker-icc"]
    assert not plan.steps


def test_what_any_reload_takes_up_is_not_deferred() -> None:
    """An authorization plugin that is not there makes the daemon refuse every request, some time after any reload."""
    tailoring = {"docker-authorization-plugins": {"expect": {"eq": ["none-such"]}}}
    plan = planned(busy(live=False), "docker-authorization-plugins", tailoring=tailoring)
    assert (plan.changes, len(plan.held)) == ((), 1)


def test_what_makes_a_reload_fail_is_not_deferred_beside_one() -> None:
    """The engine would refuse the file that the other change has it read."""
    tailoring = {"docker-userland-proxy": {"expect": {"eq": True}}}
    given = busy('{"userland-proxy": false}', live=False)
    both = planned(given, "docker-userland-proxy", "docker-live-restore", tailoring=tailoring)
    assert [one.control for one in both.changes] == ["docker-live-restore"]
    assert "refuses to reload" in held(both)["docker-userland-proxy"]
    alone = planned(given, "docker-userland-proxy", tailoring=tailoring)
    assert alone.changes[0].deferred


def test_a_flag_and_a_tree_are_not_deferred() -> None:
    """A flag stands in another file; where no daemon runs nothing could be pending."""
    owned = busy("{}", live=False, daemon={"argv": ["dockerd", "--icc=true"]})
    assert planned(owned, "docker-icc").changes == ()
    tree = planned(state("{}"), "docker-icc")
    assert held(tree) == {"docker-icc": "needs --max-disruption restart"}


@pytest.mark.parametrize("defer", [False, True])
def test_what_is_written_already_is_not_written_again(defer: bool) -> None:
    """A later plan says that it is pending and until when; with enough leave it puts it into effect."""
    given = busy('{"live-restore": true, "icc": false}')
    plan = planned(given, "docker-icc", most=Disruption.RESTART, defer=defer)
    assert plan.changes == ()
    assert (
        "already written, and pending until these next stop and the daemon is started: db, web"
        in (held(plan)["docker-icc"])
    )
    most = planned(given, "docker-icc", most=Disruption.RECREATE, defer=defer)
    assert (most.steps.activation.action, most.steps.files) == ("restart", ())


def test_what_was_pending_stays_so() -> None:
    """The record of the running daemon grows by what is deferred, and shrinks by what a reload takes up."""
    config = file('{"userland-proxy": false}', changed=3000.0)
    record = {"sha256": config["sha256"], "started": 2000.0, "pending": ["userland-proxy"]}
    files = {CONFIG: config, RECORD: file(json.dumps(record))}
    given = state(files=files, daemon={}, found=engine(), root="/")
    plan = planned(given, "docker-no-new-privileges", "docker-userland-proxy")
    assert plan.steps.activation.pending == ("no-new-privileges", "userland-proxy")
    assert held(plan)["docker-userland-proxy"].endswith("pending until the daemon is next started")


def test_the_policy_is_part_of_what_is_signed() -> None:
    """A plan that defers is another plan."""
    assert msgspec.to_builtins(Policy(defer=True))["defer"] is True
    assert "defer" not in msgspec.to_builtins(Policy())
