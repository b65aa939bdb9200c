"""icc=false on each engine generation: which start makes it true, and what it does not reach."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from remediator.apply.receipts import HostReceipt
from remediator.model import HostState, Outcome
from remediator.plan.model import HostPlan
from tests.lab.host import Host
from tests.lab.test_generations_fleet import (
    CONFIG,
    Fleet,
    controls,
    host_plan,
    icc_in_effect,
    outcome,
    planned,
    reason,
    running,
)

pytestmark = pytest.mark.lab
pytest_plugins = ["tests.lab.test_generations_fleet"]

# the networks of the only container that runs at a start
NETWORKS = ("bridge", "app", "host", "none")
SERVE = "trap 'exit 0' TERM; httpd -p 8080 -h /etc; while :; do sleep 0.2; done"
PENDING = "pending activation: is false in the configuration, while the engine does true"


def address(host: Host, container: str, network: str = "bridge") -> str:
    """The address of a container on a network."""
    template = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return host.docker("inspect", "--format", template, container).stdout.strip()


def pings(host: Host, source: str, target: str, network: str = "bridge") -> bool:
    """Whether one container reaches another."""
    reach = ("exec", "--privileged", source, "ping", "-c", "1", "-W", "1", address(host, target, network))
    return host.docker(*reach, check=False).returncode == 0


@dataclass(frozen=True)
class Reach:
    """Who reaches whom: on the default bridge, on a network of the user, by a link."""

    bridge: bool
    network: bool
    link: bool


@dataclass(frozen=True)
class Bridged:
    """A host with live-restore, from a plan made while nothing ran to the plan that may stop containers."""

    early: HostPlan
    early_receipt: HostReceipt
    early_icc: bool
    kept: dict[str, bool]
    state: HostState
    plan: HostPlan
    reach: Reach
    receipt: HostReceipt
    icc: bool
    running: list[str]
    after: Reach


@pytest.fixture(scope="module")
def bridged(fleet: Fleet) -> dict[str, Bridged]:
    """icc=false with live-restore, where containers run."""
    fleet.reset({"live-restore": True})
    baseline = fleet.baseline("docker-icc")
    early, early_plans = fleet.plan(baseline, "restart")

    def begin(host: Host) -> None:
        host.docker("network", "create", "app")
        host.run_container("one")

    fleet.each(begin)
    receipts = fleet.apply(early)
    early_icc = fleet.each(icc_in_effect)

    def starts(host: Host) -> dict[str, bool]:
        kept = {}
        host.write(CONFIG, '{"live-restore": true, "icc": false}\n')  # as somebody would who trusts the file
        for network in NETWORKS:
            host.docker("rm", "--force", *running(host))
            host.run_container(f"on-{network}", "--network", network)
            host.restart_docker()
            kept[network] = icc_in_effect(host)
        host.docker("rm", "--force", *running(host))
        host.run_container("one", "--expose", "8080", command=("sh", "-c", SERVE))  # a link is to exposed ports
        host.run_container("two")
        host.run_container("linked", "--link", "one")
        host.run_container("app-one", "--network", "app")
        host.run_container("app-two", "--network", "app")
        return kept

    def reach(host: Host) -> Reach:
        bridge, network = pings(host, "two", "one"), pings(host, "app-two", "app-one", "app")
        page = f"http://{address(host, 'one')}:8080/group"
        fetch = ("exec", "linked", "timeout", "2", "wget", "-q", "-O", "-", page)  # 20.10's wget dies of its own -T
        return Reach(bridge, network, host.docker(*fetch, check=False).returncode == 0)

    kept, reached, states = fleet.each(starts), fleet.each(reach), fleet.look()
    path, plans = fleet.plan(baseline, "recreate")
    done = fleet.apply(path)
    icc, alive, after = fleet.each(icc_in_effect), fleet.each(running), fleet.each(reach)

    def told(one: str) -> Bridged:
        first = early_plans[one], receipts[one], early_icc[one], kept[one], states[one]
        return Bridged(*first, plans[one], reached[one], done[one], icc[one], alive[one], after[one])

    return {one: told(one) for one in fleet.hosts}


def test_it_is_not_fixed_before_it_is(bridged: dict[str, Bridged], generation: str) -> None:
    """A plan made while nothing ran, applied while something does, is proved not to take, and taken back."""
    after = bridged[generation]
    assert [one.disruption for one in after.early.changes] == ["restart"]
    assert after.early_icc is True
    assert after.early_receipt.fixed == ()
    assert 'icc: the engine does "true", not "false"' in after.early_receipt.undone


@pytest.mark.parametrize("network", NETWORKS)
def test_any_container_keeps_the_bridge_as_it_is(bridged: dict[str, Bridged], generation: str, network: str) -> None:
    """Under live-restore a start with one running container, on whatever network, changes nothing."""
    assert bridged[generation].kept[network] is True


def test_the_audit_says_pending(bridged: dict[str, Bridged], generation: str) -> None:
    """What the file says is not what is in effect."""
    found = outcome(bridged[generation].state, "docker-icc")
    assert (found.outcome, found.pending, found.reason) == (Outcome.FAIL, True, PENDING)
    assert bridged[generation].reach == Reach(bridge=True, network=True, link=True)


def test_it_is_held_until_containers_may_be_stopped(bridged: dict[str, Bridged], generation: str) -> None:
    """A restart would not be enough, so it is not planned under that policy."""
    for level in ("reload", "restart"):
        plan = host_plan(bridged[generation].state, level)
        assert reason(plan, "docker-icc").startswith("needs --max-disruption recreate: live-restore is on")
        assert "/icc" not in planned(plan)
    plan = bridged[generation].plan
    assert set(plan.steps.activation.stop) == {"one", "two", "linked", "app-one", "app-two"}
    assert any(note.startswith("stopped and started around the restart") for note in plan.notes)


def test_it_takes_effect_once_containers_are_stopped(bridged: dict[str, Bridged], generation: str) -> None:
    """All that ran runs again, the bridge is closed, and links and other networks are as before."""
    after = bridged[generation]
    assert after.receipt.errors == ()
    assert controls(after.receipt.fixed) == ["docker-icc"]
    assert after.icc is False
    assert after.running == ["app-one", "app-two", "linked", "one", "two"]
    assert after.after == Reach(bridge=False, network=True, link=True)
    assert after.receipt.documents["daemon"] == {CONFIG: {"live-restore": True, "icc": False}}
