"""The fault campaign: `python -m tests.chaos --faults 200 --configs 40`; its last line is the summary."""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos import campaign, configs, strikes
from tests.chaos.bad import CONFIGS
from tests.chaos.campaign import Campaign, Verdict
from tests.chaos.fleet import Fleet, boot
from tests.chaos.moments import Moment
from tests.lab.lab import Lab
from tests.lab.machine import lab_unavailable_reason
from tests.lab.recipe import GENERATIONS


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
    if options.faults:
        with ThreadPoolExecutor(options.fleets) as pool:
            shares = [
                options.faults // options.fleets + (index < options.faults % options.fleets)
                for index in range(options.fleets)
            ]
            parts = pool.map(
                lambda pair: faults(
                    work / f"fleet{pair[0]}", pair[1], options.generations, options.hosts, options.seed + pair[0]
                ),
                enumerate(shares),
            )
            verdicts = [one for part in parts for one in part]
        campaign.save(work / "verdicts.json", verdicts, options.seed)
    if options.configs:
        bad = configs.run(work / "configs", options.configs, options.generations)
    told = summary(verdicts, bad)
    print(f"What was seen is kept in {work}; it took {(time.monotonic() - began) / 60:.0f} minutes.")
    print(told)
    return 0 if all(one.survived for one in verdicts) and all(one.survived for one in bad) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=216, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--configs", type=int, default=len(CONFIGS), metavar="N", help="default: all")
    parser.add_argument("--generations", nargs="+", default=list(GENERATIONS), choices=GENERATIONS, metavar="G")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--hosts", type=int, default=6, metavar="N", help="of a fleet, which has one plan (default: 6)")
    parser.add_argument("--fleets", type=int, default=1, metavar="N", help="at the same time (default: 1)")
    parser.add_argument("--work", default="", metavar="DIR", help="where to keep what was seen")
    return parser


def faults(work: Path, wanted: int, generations: list[str], count: int, seed: int) -> list[Verdict]:
    """So many faults on a fleet of so many hosts: every kind as often, at all moments in a random order."""
    chance = random.Random(seed)
    found: list[Verdict] = []
    with Lab.create() as lab:
        fleet = Fleet(lab, boot(lab, itertools.islice(itertools.cycle(generations), count)), work)
        one = Campaign(fleet, seed)
        one.prepare()
        order: dict[str, Iterator[Moment]] = {}
        while len(found) < wanted:
            hits = Counter(verdict.kind for verdict in found)
            everywhere = sum(hits[kind] for kind in strikes.EVERYWHERE) * len(strikes.ALONE)
            alone = sum(hits[kind] for kind in strikes.ALONE) * len(strikes.EVERYWHERE)
            planned: dict[str, tuple[str, Moment]] = {}
            if everywhere < alone:
                kind = min(strikes.EVERYWHERE, key=lambda kind: hits[kind])
                name = chance.choice(list(fleet.hosts))
                planned[name] = kind, next(_order(order, "everywhere", one.moments[name], chance))
            else:
                kinds = itertools.cycle(sorted(strikes.ALONE, key=lambda kind: (hits[kind], chance.random())))
                for name, host in fleet.hosts.items():
                    planned[name] = next(kinds), next(_order(order, host.generation, one.moments[name], chance))
            found += one.round(planned, resume=chance.random() < 0.5)
            campaign.save(work / "verdicts.json", found, seed)
            fleet.say(f"{len(found)} of {wanted} faults, {sum(verdict.survived for verdict in found)} survived")
            if fleet.broken:
                _replace(lab, fleet)
                one, former = Campaign(fleet, seed + len(found)), one
                one.hit = former.hit
                one.prepare()
        moments = {host.generation: one.moments[name] for name, host in fleet.hosts.items()}
        told = (
            f"{len(one.hit[key].intersection(some))} of {len(some)} on {key}" for key, some in sorted(moments.items())
        )
        fleet.say(f"moments that were hit: {', '.join(told)}")
    return found


def _order(
    order: dict[str, Iterator[Moment]], key: str, moments: list[Moment], chance: random.Random
) -> Iterator[Moment]:
    """The moments in a random order, over and over, one order a key."""
    if key not in order:
        order[key] = itertools.cycle(chance.sample(moments, len(moments)))
    return order[key]


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


def summary(verdicts: list[Verdict], bad: list[configs.Outcome]) -> str:
    """Print the tables and what failed; the last line."""
    if verdicts:
        generations = sorted({one.generation for one in verdicts})
        print(f"\n{'survived of':12}" + "".join(f"{one:>12}" for one in generations))
        for kind in strikes.KINDS:
            cells = []
            for generation in generations:
                some = [one for one in verdicts if (one.kind, one.generation) == (kind, generation)]
                cells.append(f"{sum(one.survived for one in some)}/{len(some)}")
            print(f"{kind:12}" + "".join(f"{cell:>12}" for cell in cells))
        ends = Counter(one.state for one in verdicts)
        print("wholly before: {before}, wholly after: {after}, neither: {half}".format_map(ends))
    for verdict in verdicts:
        if not verdict.survived:
            print(f"FAILED {verdict.kind} at {verdict.moment} on {verdict.host}: {'; '.join(verdict.problems)}")
            print(campaign.journal_lines(verdict))
    configs.table(bad)
    seconds = [second for one in bad for second in one.seconds]
    parts = [f"{sum(one.survived for one in verdicts)} of {len(verdicts)} faults survived"] if verdicts else []
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
