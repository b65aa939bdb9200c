"""The fault campaign: `python -m tests.chaos --faults 30 --configs 40`; its last line is the summary."""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.chaos import configs, strikes
from tests.chaos.agenda import Agenda
from tests.chaos.bad import CONFIGS
from tests.chaos.campaign import Campaign
from tests.chaos.fleet import SCENARIOS, Fleet, Scenario, boot
from tests.chaos.verdict import Verdict, journal_lines, save
from tests.lab.lab import Lab
from tests.lab.machine import lab_unavailable_reason
from tests.lab.recipe import GENERATIONS


class Part(NamedTuple):
    """Kinds of faults, and the fleets that they hit: so many at the same time, of so many hosts under one plan each."""

    name: str
    kinds: tuple[str, ...]
    fleets: int
    hosts: int


# what hits a control machine hits one step of a plan, and what hits a host one step of each host
PARTS = (Part("hosts", strikes.ALONE, 1, 6), Part("control", strikes.EVERYWHERE, 4, 1))


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 only if all survived."""
    options = _parser().parse_args(argv)
    if reason := lab_unavailable_reason():
        print(f"no lab on this machine: {reason}", file=sys.stderr)
        return 1
    began = time.monotonic()
    work = Path(options.work or tempfile.mkdtemp(prefix="remediator-chaos-"))
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        print(f"{work} is not empty", file=sys.stderr)
        return 1
    verdicts: list[Verdict] = []
    bad: list[configs.Outcome] = []
    for name in options.scenario if options.faults != 0 else []:
        for part in PARTS:
            kinds = [one for one in part.kinds if one in options.kinds]
            if kinds:
                agenda = Agenda(options.seed, options.faults or 0, options.faults is None, kinds)
                found = _fleets(work / name / part.name, agenda, SCENARIOS[name], part, options.generations)
                told_faults(f"{name}, {part.name}", found, agenda)
                verdicts += found
    if options.configs:
        bad = configs.run(work / "configs", options.configs, options.generations)
        configs.table(bad)
    print(f"What was seen is kept in {work}; it took {(time.monotonic() - began) / 60:.0f} minutes.")
    print(summary(verdicts, bad))
    return 0 if all(one.survived for one in verdicts) and all(one.survived for one in bad) else 1


def _fleets(work: Path, agenda: Agenda, scenario: Scenario, part: Part, generations: list[str]) -> list[Verdict]:
    """The faults of one part of a scenario, on all fleets at the same time."""
    with ThreadPoolExecutor(part.fleets) as pool:

        def one(index: int) -> list[Verdict]:
            turned = itertools.islice(itertools.cycle(generations), index * part.hosts, None)
            return faults(work / f"fleet{index}", agenda, list(itertools.islice(turned, part.hosts)), scenario)

        return [verdict for some in pool.map(one, range(part.fleets)) for verdict in some]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    default = "until each kind has hit each step"
    parser.add_argument("--faults", type=int, metavar="N", help=f"of a part of a scenario (default: {default})")
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=strikes.KINDS,
        choices=strikes.KINDS,
        metavar="KIND",
        help=", ".join(strikes.KINDS),
    )
    names = list(SCENARIOS)
    parser.add_argument("--scenario", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--configs", type=int, default=len(CONFIGS), metavar="N", help="default: all")
    parser.add_argument("--generations", nargs="+", default=list(GENERATIONS), choices=GENERATIONS, metavar="G")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--work", default="", metavar="DIR", help="where to keep what was seen")
    return parser


def faults(work: Path, agenda: Agenda, generations: list[str], scenario: Scenario) -> list[Verdict]:
    """Faults on a fleet of hosts of these generations, until the agenda has ended; what became of each."""
    found: list[Verdict] = []
    chance = random.Random(str(work.name))
    with Lab.create() as lab:
        fleet = Fleet(lab, boot(lab, generations), work, scenario)
        one = Campaign(fleet, agenda)
        one.prepare()
        while not agenda.ended():
            planned = agenda.more({name: host.generation for name, host in fleet.hosts.items()})
            found += one.round(planned, resume=chance.random() < 0.5)
            save(work / "verdicts.json", found)
            fleet.say(f"{agenda.count} faults; of {len(found)} here, {sum(one.survived for one in found)} survived")
            if fleet.broken:
                _replace(lab, fleet)
                one = Campaign(fleet, agenda)
                one.prepare()
    return found


def _replace(lab: Lab, fleet: Fleet) -> None:
    """Throw hosts away, and boot others in their places."""
    for name in fleet.broken:
        generation = fleet.hosts[name].generation
        lab.remove(fleet.hosts.pop(name))
        (host,) = boot(lab, [generation])
        fleet.hosts[host.name] = host
    fleet.inventory = lab.inventory()
    fleet.broken.clear()
    for host in fleet.hosts.values():
        for name in host.docker("ps", "--all", "--format", "{{.Names}}").stdout.split():
            host.docker("rm", "--force", name)


def told_faults(scenario: str, verdicts: list[Verdict], agenda: Agenda) -> None:
    """Print the table of a scenario's faults, what was not hit, and what failed."""
    generations = sorted({one.generation for one in verdicts})
    print(f"\n{scenario}: {_survived(verdicts)}")
    print(f"{'survived of':12}" + "".join(f"{one:>12}" for one in (*generations, "steps hit")))
    for kind in agenda.kinds:
        cells = []
        for generation in generations:
            some = [one for one in verdicts if (one.kind, one.generation) == (kind, generation)]
            cells.append(f"{sum(one.survived for one in some)}/{len(some)}")
        print(f"{kind:12}" + "".join(f"{cell:>12}" for cell in (*cells, agenda.steps(kind))))
    print(f"{'steps hit':12}" + "".join(f"{agenda.steps_on(one):>12}" for one in generations))
    print(f"not hit: {'; '.join(agenda.missed()) or 'none'}")
    ends = Counter(one.state for one in verdicts)
    print("wholly before: {before}, wholly after: {after}, neither: {half}".format_map(ends))
    for verdict in verdicts:
        if not verdict.survived:
            print(f"FAILED {verdict.kind} at {verdict.moment} on {verdict.host}: {'; '.join(verdict.problems)}")
            print(journal_lines(verdict))


def _survived(verdicts: list[Verdict]) -> str:
    strikes_made = len({one.strike for one in verdicts})
    return f"{sum(one.survived for one in verdicts)} of {len(verdicts)} faults survived ({strikes_made} strikes)"


def summary(verdicts: list[Verdict], bad: list[configs.Outcome]) -> str:
    """The last line."""
    seconds = [second for one in bad for second in one.seconds]
    parts = [_survived(verdicts)] if verdicts else []
    if bad:
        parts.append(f"{sum(one.survived for one in bad)} of {len(bad)} bad configurations did no harm")
    if seconds:
        parts.append(
            f"from a failed start to the old configuration serving: {statistics.median(seconds):.1f} s in the median, "
            f"{max(seconds):.1f} s at most"
        )
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
