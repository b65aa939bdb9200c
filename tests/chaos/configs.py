"""Bad configurations: hosts on which a plan or an apply could do harm, and what became of them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import picture
from tests.chaos.bad import CONFIGS, Bad
from tests.chaos.fleet import CONTROLS, Fleet, boot, populate
from tests.chaos.picture import Picture, differences
from tests.lab.errors import LabError
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
    ended: str = ""
    said: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def told(self) -> str:
        """How it ended and why, shortly."""
        return f"{self.ended}: {self.said[:300]}" if self.said else self.ended

    @property
    def survived(self) -> bool:
        return not self.problems


def run(work: Path, wanted: int, generations: list[str], at_once: int = 3) -> list[Outcome]:
    """Try so many bad configurations, generation by generation in turns, some hosts at a time."""
    turns = zip(CONFIGS[:wanted], itertools.cycle(generations), strict=False)
    cases = [(bad, bad.generation or turn) for bad, turn in turns if bad.generation in ("", *generations)]
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
        failed: dict[str, str] = {}
        cases = {host.name: bad for host, (bad, _) in zip(hosts, batch, strict=True)}

        def script(host: Host, text: str) -> None:
            try:
                host.run(["sh", "-ec", text])
            except LabError as error:
                failed[host.name] = f"not as bad as it should be: {error}"

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
            outcome.problems += [failed[name]] if name in failed else []
            _expect(outcome, cases[name], told.get(name, {}), planned.get(name, {}))
            _judge(outcome, before[name], seen, told.get(name, {}).get("ok", False))
            fleet.say(f"{outcome.name} ({outcome.generation}): {outcome.told} {'; '.join(outcome.problems)}")
            found.append(outcome)
        return found


def _expect(outcome: Outcome, bad: Bad, told: dict[str, Any], planned: dict[str, Any]) -> None:
    """Whether it ended as it has to, and the operator was told why."""
    if not told:
        outcome.ended, outcome.said = "not tried" if planned.get("steps") else "held", _reasons(planned)
    elif told["ok"]:
        outcome.said = _reasons(planned)
        outcome.ended = "held" if outcome.said else "applied"
    else:
        outcome.ended, outcome.said = "taken back" if told.get("undone") else "refused", "; ".join(told["errors"])
    if outcome.ended != bad.ends:
        outcome.problems.append(f"has to be {bad.ends}")
    if not re.search(bad.says, outcome.said):
        outcome.problems.append(f"the reason has to tell of {bad.says}")


def _judge(outcome: Outcome, before: Picture, seen: Picture, applied: bool) -> None:
    """Whether it did no harm."""
    changed = [one for one in differences(before, seen) if "remediator" not in one and not applied]
    outcome.problems += [f"changed: {one}" for one in changed]
    if before.answers and not seen.answers:
        outcome.problems.append("the engine does not answer any more")
    if lost := before.running - seen.running:
        outcome.problems.append(f"lost: {sorted(lost)}")
    outcome.problems += [f"left: {one}" for one in seen.left if "rescue" not in one]
    for journal in seen.runs.values():
        outcome.seconds += list(_failed_starts(journal))


def _reasons(planned: dict[str, Any]) -> str:
    """Why findings of a host are not fixed: what is held, and what cannot be judged."""
    unknown = [one for one in planned.get("others", []) if one["outcome"] == "unknown"]
    return "; ".join(sorted({one["reason"] for one in (*planned.get("held", []), *unknown)}))


def _failed_starts(journal: str) -> Iterator[float]:
    """Seconds from the beginning of a start that failed to when the daemon served with its old configuration again.

    Where the last resort was needed, it was not the old configuration that served.
    """
    lines = [json.loads(line) for line in journal.splitlines()]
    at = {(one["step"], one["state"]): one["at"] for one in lines}
    begun, served = at.get(("restart", "will")), at.get(("restart back", "did"))
    if begun and served and not at.keys() & {("restart", "did"), ("rescue", "will")}:
        yield served - begun


def table(found: list[Outcome]) -> None:
    """Print what became of each."""
    for one in found:
        mark = "ok    " if one.survived else "FAILED"
        print(f"{mark} {one.generation:6} {one.name}: {one.told}")
        for problem in one.problems:
            print(f"         {problem}")
