"""What a restart of the daemon does to containers on each engine generation, and how an apply goes about it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from remediator.apply.receipts import HostReceipt
from remediator.baseline import load_controls
from remediator.model import HostState, Outcome
from remediator.plan.model import HostPlan
from tests.lab import processes
from tests.lab.host import Host
from tests.lab.test_generations_fleet import (
    CONFIG,
    SOCKET_DROP_IN,
    Fleet,
    controls,
    dockerd,
    host_plan,
    info,
    no_new_privs,
    outcome,
    planned,
    reason,
    running,
)

pytestmark = pytest.mark.lab
pytest_plugins = ["tests.lab.test_generations_fleet"]

STUBBORN = "28.5"  # where a container that ignores SIGTERM is tried


def restart(host: Host) -> int:
    """Restart the daemon, with systemd's limit on starts in force; the exit code."""
    return host.run(["systemctl", "restart", "docker"], check=False).returncode


def forgive(host: Host) -> None:
    """Have systemd forget how often the daemon was started."""
    host.run(["systemctl", "reset-failed", "docker.service", "docker.socket"])


# --- without live-restore ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Stopped:
    """A host without live-restore: a restart by hand, one too many, and an apply at the limit."""

    seconds: float
    left: list[str]
    codes: list[int]
    result: str
    plan: HostPlan
    receipt: HostReceipt
    config: dict[str, Any]
    running: list[str]
    security: object
    ulimits: object
    privileges: tuple[bool, bool]
    state: HostState


@pytest.fixture(scope="module")
def stopped(fleet: Fleet) -> dict[str, Stopped]:
    """Restarts until systemd refuses, three more, and then an apply that needs one."""
    fleet.reset()

    def by_hand(host: Host) -> tuple[float, list[str], list[int], str]:
        if host.generation != "20.10":
            host.write(CONFIG, "")  # an empty file, which these start with
        host.run_container("plain")
        host.run_container("always", "--restart", "always")
        if host.generation == STUBBORN:
            host.run_container("stubborn", command=("sleep", "3600"))
        forgive(host)
        began = time.monotonic()
        codes = [restart(host)]
        seconds, left = time.monotonic() - began, running(host)
        codes += [restart(host) for _ in range(3)]
        result = host.run(["systemctl", "show", "--property", "Result", "--value", "docker"]).stdout.strip()
        forgive(host)
        host.write(CONFIG, "")  # 20.10 with what it would not start with
        if host.generation == "20.10":
            host.run(["rm", CONFIG])
        assert [restart(host) for _ in range(3)] == [0, 0, 0]
        host.docker("start", "plain")
        if host.generation == "20.10":
            host.write(CONFIG, "")
        host.run_container("looping", "--restart", "always", command=("sh", "-c", "sleep 0.2; exit 1"))
        return seconds, left, codes, result

    hand = fleet.each(by_hand)
    baseline = fleet.baseline("docker-no-new-privileges", "docker-default-ulimits")
    path, plans = fleet.plan(baseline, "restart")
    done = fleet.apply(path)
    fleet.each(lambda host: host.docker("rm", "--force", "looping"))
    alive = fleet.each(running)
    fleet.each(lambda host: host.run_container("new"))
    states = fleet.look()

    def told(host: Host) -> Stopped:
        one, limited = host.generation, host.inspect("new")["HostConfig"]
        assert isinstance(limited, dict)
        privileges = no_new_privs(host, "plain"), no_new_privs(host, "new")
        host_config = limited["SecurityOpt"], limited["Ulimits"]
        seen = plans[one], done[one], json.loads(host.read(CONFIG)), alive[one]
        return Stopped(*hand[one], *seen, *host_config, privileges, states[one])

    return fleet.each(told)


def test_a_restart_stops_what_nobody_starts_again(stopped: dict[str, Stopped], generation: str) -> None:
    """Without live-restore only those come back whose restart policy says so."""
    assert stopped[generation].left == ["always"]


def test_a_container_that_ignores_sigterm_takes_ten_seconds(stopped: dict[str, Stopped]) -> None:
    """The daemon waits for it before it ends."""
    assert stopped[STUBBORN].seconds > 10


def test_systemd_refuses_the_fourth_start_in_a_minute(stopped: dict[str, Stopped], generation: str) -> None:
    """Starts that succeeded count as well, and the daemon stays down."""
    assert stopped[generation].codes == [0, 0, 0, 1]
    assert stopped[generation].result == "start-limit-hit"


def test_an_apply_restarts_at_the_limit_all_the_same(stopped: dict[str, Stopped], generation: str) -> None:
    """It resets the counters first; the empty file is one document then, on 20.10 too.

    A container that ended again and again before the apply is no sign of harm when it goes on to.
    """
    after = stopped[generation]
    assert after.receipt.errors == ()
    assert controls(after.receipt.fixed) == ["docker-default-ulimits", "docker-no-new-privileges"]
    assert after.config == {
        "no-new-privileges": True,
        "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}},
    }


def test_an_apply_starts_what_it_stopped(stopped: dict[str, Stopped], generation: str) -> None:
    """The plan says that all containers stop, and those that ran run again."""
    after = stopped[generation]
    assert any(one.startswith("the restart stops all containers") for one in after.plan.notes)
    assert after.running == ["always", "plain"]


def test_no_new_privileges_is_for_containers_made_afterwards(stopped: dict[str, Stopped], generation: str) -> None:
    """It is not in their HostConfig: only the process tells, and so does the audit."""
    after = stopped[generation]
    assert not after.security
    assert after.privileges == (False, True)
    control = "container-no-new-privileges"
    assert outcome(after.state, control, "plain").outcome is Outcome.FAIL
    assert outcome(after.state, control, "new").outcome is Outcome.PASS


def test_default_ulimits_are_not_a_containers_own(stopped: dict[str, Stopped], generation: str) -> None:
    """The engine writes them into every container that it starts; that is no finding."""
    after = stopped[generation]
    assert after.ulimits == [{"Name": "nofile", "Hard": 64000, "Soft": 64000}]
    for name in ("plain", "always", "new"):
        assert outcome(after.state, "container-ulimits", name).outcome is Outcome.PASS


# --- with live-restore ------------------------------------------------------------------------------


def socket_mode(host: Host) -> str:
    """The mode of Docker's socket, in octal digits."""
    return host.run(["stat", "--format", "%a", "/run/docker.sock"]).stdout.strip()


@dataclass(frozen=True)
class Kept:
    """A host on which live-restore was switched on and the daemon restarted, by one apply."""

    open: str
    before: tuple[int, int]
    plan: HostPlan
    receipt: HostReceipt
    after: tuple[int, int]
    modes: list[str]
    pids: list[int]
    privileges: list[bool]
    state: HostState


@pytest.fixture(scope="module")
def kept(fleet: Fleet) -> dict[str, Kept]:
    """An apply that needs a restart and switches live-restore on before it; then restarts by hand, and a kill."""
    fleet.reset(files={SOCKET_DROP_IN: "[Socket]\nSocketMode=0666\n"})

    def pids(host: Host) -> tuple[int, int]:
        return dockerd(host), host.container_pid("plain")

    def prepare(host: Host) -> tuple[str, tuple[int, int]]:
        host.run(["systemctl", "stop", "docker.service", "docker.socket"])
        forgive(host)
        host.run(["systemctl", "start", "docker.service"])
        host.run_container("plain")
        return socket_mode(host), pids(host)

    before = fleet.each(prepare)
    baseline = fleet.baseline("docker-live-restore", "docker-no-new-privileges", "file-socket-mode")
    path, plans = fleet.plan(baseline, "restart")
    done = fleet.apply(path)

    def told(host: Host) -> tuple[tuple[int, int], list[str], list[int], list[bool]]:
        applied = pids(host)
        host.run_container("new")
        privileges = [no_new_privs(host, one) for one in ("plain", "new")]
        modes, lives = [socket_mode(host)], [applied[1]]
        forgive(host)
        assert restart(host) == 0
        modes, lives = [*modes, socket_mode(host)], [*lives, host.container_pid("plain")]
        old = dockerd(host)
        host.run(["kill", "-KILL", str(old)])
        ask = ["docker", "info", "--format", "{{.ServerVersion}}"]
        assert processes.until(lambda: not host.run(ask, check=False).returncode and dockerd(host) != old, 30)
        lives.append(host.container_pid("plain"))
        host.run(["systemctl", "stop", "docker.service", "docker.socket"])
        forgive(host)
        host.run(["systemctl", "start", "docker.service"])
        return applied, [*modes, socket_mode(host)], [*lives, host.container_pid("plain")], privileges

    seen, states = fleet.each(told), fleet.look()

    def note(one: str) -> Kept:
        opened, pair = before[one]
        return Kept(opened, pair, plans[one], done[one], *seen[one], states[one])

    return {one: note(one) for one in fleet.hosts}


def test_live_restore_goes_first(kept: dict[str, Kept], generation: str) -> None:
    """A reload switches it on, and then containers outlive the restart that the rest needs."""
    after = kept[generation]
    assert after.plan.steps.activation.reload_first
    assert after.receipt.errors == ()
    fixed = ["docker-live-restore", "docker-no-new-privileges", "file-socket-mode"]
    assert controls(after.receipt.fixed) == fixed
    assert after.after[0] != after.before[0]
    assert after.after[1] == after.before[1]


def test_containers_outlive_the_daemon(kept: dict[str, Kept], generation: str) -> None:
    """They keep their pids over a restart, a kill and a stop of the daemon."""
    assert set(kept[generation].pids) == {kept[generation].before[1]}


def test_what_outlived_the_restart_has_its_old_privileges(kept: dict[str, Kept], generation: str) -> None:
    """The default is for the container made afterwards, and the other one is still a finding."""
    after = kept[generation]
    assert after.privileges == [False, True]
    assert outcome(after.state, "container-no-new-privileges", "plain").outcome is Outcome.FAIL


def test_the_mode_of_the_socket_lasts_until_the_socket_is_made_anew(kept: dict[str, Kept], generation: str) -> None:
    """Set after the restart and kept over the next; docker.socket's own setting wins in the end, and is told."""
    after = kept[generation]
    assert after.open == "666"
    assert after.modes == ["660", "660", "666"]
    found = outcome(after.state, "file-socket-mode")
    assert (found.outcome, found.reason) == (Outcome.FAIL, 'is "0666"')
    assert "the lasting setting is SocketMode in docker.socket" in load_controls()["file-socket-mode"].why


# --- with swarm -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Swarmed:
    """A swarm manager, which was told by a reload to keep containers alive."""

    init: int
    state: HostState
    reload: bool
    pending: HostState
    restart: int
    journal: str
    refused: str


@pytest.fixture(scope="module")
def swarmed(fleet: Fleet) -> dict[str, Swarmed]:
    """Swarm mode first and live-restore then, and the other way round."""
    fleet.reset()
    init = ("swarm", "init", "--advertise-addr", "127.0.0.1")
    codes = fleet.each(lambda host: host.docker(*init, check=False).returncode)
    states = fleet.look()

    def reload(host: Host) -> bool:
        host.write(CONFIG, '{"live-restore": true}\n')
        host.run(["systemctl", "reload", "docker"])
        return processes.until(lambda: bool(info(host)["LiveRestoreEnabled"]), 10)

    reloads = fleet.each(reload)
    pending = fleet.look()

    def finish(host: Host) -> tuple[int, str, str]:
        code = restart(host)
        journal = host.run(["journalctl", "--unit", "docker", "--output", "cat", "--since", "-20s"]).stdout
        host.run(["rm", CONFIG])
        host.restart_docker()
        host.docker("swarm", "leave", "--force")
        host.configure_docker({"live-restore": True})
        return code, journal, host.docker(*init, check=False).stderr

    ends = fleet.each(finish)
    return {one: Swarmed(codes[one], states[one], reloads[one], pending[one], *ends[one]) for one in fleet.hosts}


def test_live_restore_is_not_for_swarm(swarmed: dict[str, Swarmed], generation: str) -> None:
    """On a manager it is not applicable and never planned; the rest is."""
    after = swarmed[generation]
    assert after.init == 0
    found = outcome(after.state, "docker-live-restore")
    assert found.outcome is Outcome.NOT_APPLICABLE
    changed = planned(host_plan(after.state))
    assert "/no-new-privileges" in changed
    assert "/live-restore" not in changed


def test_a_daemon_does_not_start_with_both(swarmed: dict[str, Swarmed], generation: str) -> None:
    """A reload takes it without a word; the next start fails, and swarm init is refused the other way round."""
    after = swarmed[generation]
    assert after.reload
    assert after.restart != 0
    told = "--live-restore daemon configuration is incompatible with swarm mode"
    assert told in after.journal
    assert told in after.refused


def test_a_manager_that_would_not_start_again_is_not_restarted(swarmed: dict[str, Swarmed], generation: str) -> None:
    """What someone reloaded before us would stop the daemon for good at our restart."""
    told = "swarm mode is on, which does not go with live-restore: the daemon does not start with it"
    plan = host_plan(swarmed[generation].pending)
    assert told in reason(plan, "docker-no-new-privileges")
    assert planned(plan) == []
