"""Servers of the lab by hand: `python -m tests.lab up --hosts 3`, then `down`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

from tests.lab import careless, state, trees
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.lab import Lab, sweep
from tests.lab.machine import lab_unavailable_reason
from tests.lab.recipe import GENERATIONS
from tests.lab.state import LabState

NEXT = """
{count} hosts run in the lab {name}. Next:

    remediator audit -i {inventory}
    remediator plan -i {inventory} -o plan.json
    remediator apply plan.json --dry-run
    remediator apply plan.json
    make lab-down

As the user admin, who becomes root with sudo: {admin}
A shell on a host:  nsenter --target PID --all /bin/bash
{hosts}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    options = _parser().parse_args(argv)
    if reason := lab_unavailable_reason():
        print(f"no lab on this machine: {reason}", file=sys.stderr)
        return 1
    try:
        options.do(options)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="build the root trees")
    build.add_argument("generations", nargs="*", metavar="GENERATION", help=", ".join(GENERATIONS))
    build.add_argument("--rebuild", action="store_true", help="also those that are there")
    build.set_defaults(do=_build)
    up = commands.add_parser("up", help="bring servers up, with careless containers on them")
    up.add_argument("--hosts", type=int, default=3, metavar="N")
    up.add_argument("--generations", nargs="+", default=list(GENERATIONS), choices=GENERATIONS, metavar="G")
    up.add_argument("--name", default="", help="name of the lab; made up where not given")
    up.add_argument("--bare", action="store_true", help="no containers")
    up.set_defaults(do=_up)
    down = commands.add_parser("down", help="take labs away, with all that belongs to them")
    down.add_argument("name", nargs="?", help="default: those made by `up`, and those left by a crash")
    down.add_argument("--all", action="store_true", help="also labs of tests that run right now")
    down.set_defaults(do=_down)
    commands.add_parser("list", help="show the labs and their hosts").set_defaults(do=_list)
    return parser


def _build(options: argparse.Namespace) -> None:
    for name in options.generations or GENERATIONS:
        if name not in GENERATIONS:
            raise LabError(f"no engine generation {name}; there are: {', '.join(GENERATIONS)}")
        began = time.monotonic()
        tree = trees.build(GENERATIONS[name], rebuild=options.rebuild, in_use=state.trees_in_use())
        print(f"{name}: {tree} ({time.monotonic() - began:.0f} s)", flush=True)


def _up(options: argparse.Namespace) -> None:
    lab = Lab.create(options.name, keep=True)
    try:
        generations = list(islice(cycle(options.generations), options.hosts))
        for name in dict.fromkeys(generations):
            if not trees.path(GENERATIONS[name]).is_dir():
                print(f"building the root tree of {name}, which takes about a minute", file=sys.stderr)
                trees.build(GENERATIONS[name], in_use=state.trees_in_use())
        hosts = lab.host_group(("", generation) for generation in generations)
        if not options.bare:
            with ThreadPoolExecutor() as pool:
                list(pool.map(careless.run, hosts))
        inventory, admin = lab.inventory(), lab.inventory(user="admin")
    except BaseException:
        lab.down()
        raise
    rows = "".join(f"{_row(host)} PID {host.pid}\n" for host in hosts)
    print(NEXT.format(count=len(hosts), name=lab.name, inventory=inventory, admin=admin, hosts=rows), end="")


def _down(options: argparse.Namespace) -> None:
    if options.name:
        Lab.open(options.name).down()
        print(f"{options.name} is gone")
        return
    for name in sweep():
        print(f"{name} is gone")
    for name in state.names():
        record = LabState.load(name)
        if options.all or record.keep or not record.owner.alive():
            state.down(record)
            print(f"{name} is gone")


def _list(options: argparse.Namespace) -> None:
    for name in state.names():
        lab = Lab.open(name)
        print(f"{name}  {lab.directory}")
        for host in lab.hosts:
            print(_row(host), "up" if host.running else "down")


def _row(host: Host) -> str:
    return f"    {host.name:<10} {host.ip:<14} Docker {host.generation:<6}"


if __name__ == "__main__":
    sys.exit(main())
