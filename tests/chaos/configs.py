"""Bad configurations: hosts on which a plan or an apply could do harm, and what became of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import picture
from tests.chaos.bad import CONFIGS, Bad
from tests.chaos.fleet import CONTROLS, Fleet, boot, populate
from tests.chaos.picture import Picture, differences
from tests.lab.host import Host
from tests.lab.lab import Lab

# What was taken away to be judged without: it is no part of what the apply does
GIVE_BACK = """
cd /usr/bin; for one in docker python3 systemd-run; do if [ -e $one.away ]; then mv $one.away $one; fi; done
"""


@dataclass
class Outcome:
    """What became of a host with a bad configuration; `seconds` from failed starts to the old one serving."""

    name: str
    generation: str
    said: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        return not self.problems


def run(work: Path, wanted: int, generations: list[str], at_once: int = 3) -> list[Outcome]:
    """Try so many bad configurations, generation by generation in turns, some hosts at a time."""
    cases = list(zip(CONFIGS[:wanted], itertools.cycle(generations), strict=False))
    found: list[Outcome] = []
    for stops in (True, False):
        left = [one for one in cases if one[0].stops is stops]
        while left:
            batch, left = left[:at_once], left[at_once:]
            found += _batch(work / f"batch{len(found)}", batch, stops)
    return found


def _batch(work: Path, batch: list[tuple[Bad, str]], stops: bool) -> list[Outcome]:
    with Lab.create() as lab:
        hosts = boot(lab, [generation for _, generation in batch])
        fleet = Fleet(lab, hosts, work)
        cases = {host.name: bad for host, (bad, _) in zip(hosts, batch, strict=True)}

        def script(host: Host, text: str) -> None:
            if text:
                host.run(["sh", "-c", text], check=False)

        def prepare(host: Host) -> None:
            populate(host)
            script(host, cases[host.name].before)

        fleet.each(prepare)
        fleet.limit = 60
        plan = fleet.plan([one for one in CONTROLS if one != "docker-live-restore" or not stops])
        planned = {one["host"]["name"]: one for one in plan["hosts"]}
        before = fleet.pictures()

        def between(host: Host) -> Picture:
            script(host, cases[host.name].between)
            host.run(["sh", "-c", "docker start once >/dev/null 2>&1"], check=False)
            if host.exists("/usr/bin/python3") and host.exists("/usr/bin/docker"):
                return picture.take(host)
            return before[host.name]

        before |= fleet.each(between)
        process = fleet.start()
        process.wait(timeout=1500)
        fleet.each(lambda host: script(host, GIVE_BACK))
        told = {one["host"]["name"]: one for one in fleet.receipt().get("hosts", [])}
        found = []
        for name, seen in fleet.pictures().items():
            outcome = Outcome(cases[name].name, fleet.hosts[name].generation)
            _judge(outcome, before[name], seen, told.get(name, {}), planned.get(name, {}))
            fleet.say(f"{outcome.name} ({outcome.generation}): {outcome.said} {'; '.join(outcome.problems)}")
            found.append(outcome)
        return found


def _judge(outcome: Outcome, before: Picture, seen: Picture, told: dict[str, Any], planned: dict[str, Any]) -> None:
    changed = [one for one in differences(before, seen) if "remediator" not in one]
    if not told:
        held = _reasons(planned)
        outcome.said = f"nothing planned: {held}"
    elif told["ok"]:
        outcome.said = f"applied, without: {_reasons(planned)}"
        changed = []
    else:
        outcome.said = f"{'taken back' if told.get('undone') else 'refused'}: {'; '.join(told['errors'])[:300]}"
    outcome.problems += [f"changed: {one}" for one in changed]
    if before.answers and not seen.answers:
        outcome.problems.append("the engine does not answer any more")
    if lost := before.running - seen.running:
        outcome.problems.append(f"lost: {sorted(lost)}")
    outcome.problems += [f"left: {one}" for one in seen.left if "rescue" not in one]
    for journal in seen.runs.values():
        outcome.seconds += list(_failed_starts(journal))


def _reasons(planned: dict[str, Any]) -> str:
    """Why changes of a host were held, shortly."""
    reasons = sorted({one["reason"] for one in planned.get("held", [])})
    return "; ".join(reasons)[:300]


def _failed_starts(journal: str) -> Iterator[float]:
    """Seconds from when a failed start was noticed to when the daemon served again."""
    lines = [json.loads(line) for line in journal.splitlines()]
    undo = next((one["at"] for one in lines if one["step"] == "undo" and one["state"] == "will"), None)
    failed = any(one["step"] == "restart" for one in lines) and not any(
        one["step"] == "restart" and one["state"] == "did" for one in lines
    )
    back = [one["at"] for one in lines if one["step"] in ("restart back", "rescue") and one["state"] == "did"]
    if undo and failed and back:
        yield back[-1] - undo


def table(found: list[Outcome]) -> None:
    """Print what became of each."""
    for one in found:
        mark = "ok    " if one.survived else "FAILED"
        print(f"{mark} {one.generation:6} {one.name}: {one.said}")
        for problem in one.problems:
            print(f"         {problem}")
