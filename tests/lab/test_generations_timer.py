"""The units that `remediator drift install` writes, on the systemd of each host."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from remediator.drift import timer
from tests.lab import processes
from tests.lab.host import Host
from tests.lab.test_generations_fleet import Fleet

pytestmark = pytest.mark.lab
pytest_plugins = ["tests.lab.test_generations_fleet"]

UNITS = "/etc/systemd/system"
PROGRAM = "/opt/a dir/100%/remediator"
RUNS = "/run/remediator-runs"
# writes its arguments, one a line, and ends as if something had drifted
STUB = f'#!/bin/sh\nfor word; do echo "$word"; done >>{RUNS}\necho . >>{RUNS}\nexit 2\n'
BASELINE = '/etc/my "$HOME" baseline 50%.yaml'


@dataclass(frozen=True)
class Timed:
    """A host on which the timer was enabled."""

    verified: str
    runs: list[list[str]]
    result: str
    timers: str
    failed: str
    crashed: str


@pytest.fixture(scope="module")
def timed(fleet: Fleet) -> dict[str, Timed]:
    """The units with a program that ends with 2, and then with 1."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timer, "command", lambda: [PROGRAM])
        texts = timer.units("1s", ["--mode", "correct", "--baseline", BASELINE])

    def show(host: Host, name: str) -> str:
        return host.run(["systemctl", "show", "--property", name, "--value", timer.SERVICE]).stdout.strip()

    def runs(host: Host) -> list[list[str]]:
        text = host.read(RUNS) if host.exists(RUNS) else ""
        return [one.splitlines() for one in text.split(".\n")[:-1]]

    def run(host: Host) -> Timed:
        host.write(PROGRAM, STUB, mode=0o755)
        for name, text in texts.items():
            host.write(f"{UNITS}/{name}", text)
        host.write(f"{UNITS}/{timer.TIMER}.d/test.conf", "[Timer]\nAccuracySec=100ms\n")  # its default is a minute
        done = host.run(["systemd-analyze", "verify", *(f"{UNITS}/{name}" for name in texts)], check=False)
        host.run(["systemctl", "daemon-reload"])
        host.run(["systemctl", "enable", "--now", timer.TIMER])
        try:
            assert processes.until(lambda: len(runs(host)) >= 2, 20), "the timer did not elapse twice"
            seen, result = runs(host), show(host, "Result")
            timers = host.run(["systemctl", "list-timers", "--all", timer.TIMER]).stdout
            failed = host.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout
            host.write(PROGRAM, "#!/bin/sh\nexit 1\n", mode=0o755)
            assert processes.until(lambda: show(host, "Result") == "exit-code", 20), "exit code 1 is no failure"
        finally:
            host.run(["systemctl", "disable", "--now", timer.TIMER])
            host.run(
                ["rm", "-rf", "/opt/a dir", RUNS, f"{UNITS}/{timer.TIMER}.d", *(f"{UNITS}/{name}" for name in texts)]
            )
            host.run(["systemctl", "daemon-reload"])
            host.run(["systemctl", "reset-failed", timer.SERVICE], check=False)
        return Timed(done.stdout + done.stderr, seen, result, timers, failed, "exit-code")

    return fleet.each(run)


def test_systemd_finds_nothing_wrong_with_the_units(timed: dict[str, Timed], generation: str) -> None:
    """Neither error nor warning about what we wrote."""
    told = [line for line in timed[generation].verified.splitlines() if "remediator" in line]
    assert [line for line in told if "Command 'man " not in line] == []  # the hosts have no manual pages


def test_the_timer_starts_the_program_again_and_again(timed: dict[str, Timed], generation: str) -> None:
    """With its words as they are, spaces, quotes, dollars and percent signs in them."""
    words = ["drift", "--once", "--mode", "correct", "--baseline", BASELINE]
    assert timed[generation].runs[:2] == [words, words]
    assert timer.TIMER in timed[generation].timers


def test_drift_is_no_failure(timed: dict[str, Timed], generation: str) -> None:
    """Exit code 2 says that something drifted; 1 is an error, and the unit fails."""
    assert timed[generation].result == "success"
    assert timed[generation].failed == ""
    assert timed[generation].crashed == "exit-code"
