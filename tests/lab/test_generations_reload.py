"""What a reload does on each engine generation, and what it leaves to a restart."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from remediator.model import HostState, Outcome
from remediator.plan.model import HostPlan
from tests.lab import processes
from tests.lab.host import Host
from tests.lab.test_generations_fleet import (
    CONFIG,
    Fleet,
    controls,
    dockerd,
    host_plan,
    icc_in_effect,
    info,
    outcome,
    planned,
    reason,
)

pytestmark = pytest.mark.lab
pytest_plugins = ["tests.lab.test_generations_fleet"]

MIB = 2**20
# twice the same key, a key that no control knows, and an odd taste in white space
DUPLICATES = """{ "insecure-registries": ["10.1.2.0/24", "127.0.0.0/8"],
   "max-concurrent-downloads": 3,
   "max-concurrent-downloads": 7 , "log-opts": {"tag": "{{.Name}}"} }
"""
# what a reload takes up, and what it does not
MIRROR = "https://mirror.internal/"
RELOADED = {
    "live-restore": True,
    "debug": True,
    "insecure-registries": ["10.9.9.0/24"],
    "registry-mirrors": [MIRROR],
    "labels": ["tier=web"],
}
LEFT = {
    "icc": False,
    "no-new-privileges": True,
    "log-driver": "local",
    "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}},
    "userland-proxy": False,
}


def registries(host: Host) -> list[str]:
    """The networks of registries that the engine talks to without TLS."""
    return sorted(info(host)["RegistryConfig"]["InsecureRegistryCIDRs"])


def limits(host: Host, container: str = "plain") -> tuple[int, int]:
    """A container's limit of memory, and of memory with swap."""
    found = json.loads(host.docker("inspect", "--format", "{{json .HostConfig}}", container).stdout)
    return found["Memory"], found["MemorySwap"]


@dataclass(frozen=True)
class Before:
    """What the engine makes of updates of a container's memory, and whose pids there are."""

    dockerd: int
    container: int
    alone: str
    to_zero: tuple[int, tuple[int, int]]
    too_small: str


@dataclass(frozen=True)
class Reloaded:
    """A host on which the plan of a reload was applied."""

    before: Before
    plan: HostPlan
    fixed: list[str]
    pids: tuple[int, int]
    live: dict[str, Any]
    registries: list[str]
    limits: tuple[int, int]
    text: str


@pytest.fixture(scope="module")
def reloaded(fleet: Fleet) -> dict[str, Reloaded]:
    """A plan under the default disruption, applied where a container runs."""
    fleet.reset(DUPLICATES)

    def prepare(host: Host) -> Before:
        host.run_container("plain")
        update = ("update", "--memory")
        alone = host.docker(*update, "64m", "plain", check=False).stderr
        zero = host.docker(*update, "0", "plain", check=False).returncode
        small = host.docker(*update, "5m", "--memory-swap", "5m", "plain", check=False).stderr
        return Before(dockerd(host), host.container_pid("plain"), alone, (zero, limits(host)), small)

    before = fleet.each(prepare)
    settings = ("docker-live-restore", "docker-insecure-registries", "docker-icc", "docker-no-new-privileges")
    baseline = fleet.baseline(*settings, "container-memory")
    path, plans = fleet.plan(baseline)
    done = fleet.apply(path)

    def told(host: Host) -> Reloaded:
        one = host.generation
        pids = dockerd(host), host.container_pid("plain")
        seen = info(host), registries(host), limits(host), host.read(CONFIG)
        return Reloaded(before[one], plans[one], controls(done[one].fixed), pids, *seen)

    return fleet.each(told)


def test_a_reload_is_enough_for_some_keys(reloaded: dict[str, Reloaded], generation: str) -> None:
    """live-restore and registries take effect with the same daemon and the same containers."""
    after = reloaded[generation]
    assert after.plan.steps.activation.action == "reload"
    assert after.fixed == ["container-memory", "docker-insecure-registries", "docker-live-restore"]
    assert after.pids == (after.before.dockerd, after.before.container)
    assert after.live["LiveRestoreEnabled"] is True
    assert "10.1.2.0/24" not in after.registries


def test_keys_that_need_a_restart_are_held(reloaded: dict[str, Reloaded], generation: str) -> None:
    """The default policy allows a reload and no more."""
    for control in ("docker-icc", "docker-no-new-privileges"):
        assert reason(reloaded[generation].plan, control) == "needs --max-disruption restart"


def test_all_else_in_the_file_keeps_its_bytes(reloaded: dict[str, Reloaded], generation: str) -> None:
    """Duplicate keys, which every engine takes, are still there."""
    assert reloaded[generation].text == (
        '{ "insecure-registries": ["127.0.0.0/8"],\n   "max-concurrent-downloads": 3,\n'
        '   "max-concurrent-downloads": 7 , "log-opts": {"tag": "{{.Name}}"}, "live-restore": true }\n'
    )


def test_memory_is_limited_together_with_swap(reloaded: dict[str, Reloaded], generation: str) -> None:
    """The engine refuses memory alone and less than 6 MB, and ignores 0; the plan gives both, never under it."""
    after = reloaded[generation]
    assert "Memory limit should be smaller than already set memoryswap limit" in after.before.alone
    assert after.before.to_zero == (0, (0, 0))
    assert "Minimum memory limit allowed is 6MB" in after.before.too_small
    (update,) = after.plan.steps.updates
    assert after.limits == (update.values["Memory"], update.values["MemorySwap"]) == (64 * MIB, 128 * MIB)


# --- by hand ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ByHand:
    """A host on which someone wrote keys and reloaded, then took some away and reloaded again."""

    taken: dict[str, Any]
    registries: list[str]
    icc: bool
    ulimits: object
    driver: str
    proxies: int
    written: HostState
    removed: HostState
    still: dict[str, Any]


@pytest.fixture(scope="module")
def by_hand(fleet: Fleet) -> dict[str, ByHand]:
    """daemon.json written and reloaded without the product."""
    fleet.reset()

    def write(host: Host) -> tuple[dict[str, Any], list[str], bool, object, str, int]:
        time.sleep(1.5)  # within a second of its start the daemon is taken to have read the file
        host.write(CONFIG, json.dumps({**RELOADED, **LEFT}))
        host.run(["systemctl", "reload", "docker"])
        assert processes.until(lambda: bool(info(host)["Debug"]), 10)
        host.run_container("after", "--publish", "8080:80")
        limited = host.inspect("after")["HostConfig"]
        assert isinstance(limited, dict)
        driver = host.docker("inspect", "--format", "{{.HostConfig.LogConfig.Type}}", "after").stdout.strip()
        proxies = host.run(["pgrep", "--count", "docker-proxy"], check=False).stdout
        seen = info(host), registries(host), icc_in_effect(host)
        return *seen, limited["Ulimits"], driver, int(proxies)

    def remove(host: Host) -> dict[str, Any]:
        host.write(CONFIG, json.dumps({"debug": False}))
        host.run(["systemctl", "reload", "docker"])
        assert processes.until(lambda: not info(host)["Debug"], 10)
        return info(host)

    taken, written = fleet.each(write), fleet.look()
    still, removed = fleet.each(remove), fleet.look()
    return {one: ByHand(*taken[one], written[one], removed[one], still[one]) for one in fleet.hosts}


def test_what_a_reload_takes_up(by_hand: dict[str, ByHand], generation: str) -> None:
    """The keys that the product takes for reloadable are."""
    after = by_hand[generation]
    assert (after.taken["LiveRestoreEnabled"], after.taken["Debug"]) == (True, True)
    assert "10.9.9.0/24" in after.registries
    assert (after.taken["RegistryConfig"]["Mirrors"], after.taken["Labels"]) == ([MIRROR], ["tier=web"])


def test_what_a_reload_leaves(by_hand: dict[str, ByHand], generation: str) -> None:
    """These keys are in the file and not in effect, also for containers made after the reload."""
    after = by_hand[generation]
    assert after.icc is True
    assert not any("no-new-privileges" in one for one in after.taken["SecurityOptions"])
    assert after.taken["LoggingDriver"] == after.driver == "json-file"
    assert not after.ulimits
    assert after.proxies > 0


def test_what_a_reload_left_is_told_as_pending(by_hand: dict[str, ByHand], generation: str) -> None:
    """File and engine are told apart, and a plan brings it into effect by a restart alone."""
    state = by_hand[generation].written
    for control in ("docker-icc", "docker-no-new-privileges", "docker-default-ulimits", "docker-userland-proxy"):
        found = outcome(state, control)
        assert (found.outcome, found.pending) == (Outcome.FAIL, True), found.reason
        assert found.reason.startswith("pending activation: is ")
    assert outcome(state, "docker-live-restore").outcome is Outcome.PASS
    plan = host_plan(state)
    assert plan.steps.activation.action == "restart"
    assert plan.patches["daemon"][CONFIG] == [
        {"op": "test", "path": "/insecure-registries", "value": ["10.9.9.0/24"]},
        {"op": "replace", "path": "/insecure-registries", "value": []},
    ]


def test_a_key_that_was_removed_stays_in_effect(by_hand: dict[str, ByHand], generation: str) -> None:
    """Only a value that is written out reverts it, so that is what a plan writes."""
    after = by_hand[generation]
    assert after.still["LiveRestoreEnabled"] is True
    found = outcome(after.removed, "docker-live-restore")
    assert (found.outcome, found.reason) == (Outcome.FAIL, "is false by default, in effect true")
    assert outcome(after.removed, "docker-insecure-registries").outcome is Outcome.FAIL
    assert "/live-restore" in planned(host_plan(after.removed, "reload"))
