"""Measure on private engines, print a table, and end with 0 only where every target is met.

Each ratio is of medians of one run, in which what is compared takes turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import hosts
from tests.engine.private import PrivateEngine, unavailable_reason

LIST = "import docker; print(len(docker.from_env().containers.list(all=True)))"
PING = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.ping:
"""


@dataclass(frozen=True)
class Target:
    """A number that a run gave, and what it may be at most."""

    name: str
    value: float
    limit: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit


def turns(rounds: int, commands: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Run commands in turn, and say how long each took each time (seconds); a first turn is not counted."""
    found: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            started = time.perf_counter()
            command()
            if number:
                found[name].append(time.perf_counter() - started)
    return found


def show(name: str, times: list[float], bare: list[float] | None = None) -> None:
    """One line of the table."""
    median = statistics.median(times)
    ratio = f"{median / statistics.median(bare):6.2f}x" if bare else ""
    least = f"{min(times) / min(bare):6.2f}x" if bare else ""
    print(f"{name:44} {median:9.3f} {min(times):9.3f} {ratio:>8} {least:>8}", flush=True)


def ratio(times: list[float], bare: list[float]) -> float:
    """How many times as long as the bare tool, by medians."""
    return statistics.median(times) / statistics.median(bare)


def start(rounds: int) -> list[Target]:
    """`--help` against an empty program."""
    python = sys.executable

    def quiet(*argv: str) -> Callable[[], object]:
        return lambda: subprocess.run([python, *argv], stdout=subprocess.DEVNULL, check=True)

    took = turns(rounds, {"pass": quiet("-c", "pass"), "help": quiet("-m", "remediator", "--help")})
    show("python -c pass", took["pass"])
    show("remediator --help", took["help"], took["pass"])
    return [Target("--help", ratio(took["help"], took["pass"]), 6.0)]


def reading(rounds: int, sizes: list[int]) -> list[Target]:
    """audit and plan against listing and inspecting the same containers with the SDK."""
    median: dict[tuple[str, int], float] = {}
    targets = []
    with PrivateEngine() as host:
        host.load_image()
        made = 0
        for size in sizes:
            hosts.containers(host, range(made, size))
            made = size
            took = turns(
                rounds,
                {
                    "list": lambda: host.run(sys.executable, "-c", LIST),
                    "audit": lambda: host.remediator("audit", "--format", "json", code=2),
                    "plan": lambda: host.remediator("plan", "--fix", "unsafe", "--format", "json", code=2),
                },
            )
            show(f"SDK lists {size} containers", took["list"])
            for name in ("audit", "plan"):
                show(f"remediator {name}, {size} containers", took[name], took["list"])
                median[name, size] = statistics.median(took[name])
                if size == sizes[-1]:
                    targets.append(Target(f"{name} at {size}", ratio(took[name], took["list"]), 2.0))
    for name in ("audit", "plan"):
        each = [median[name, size] / size for size in sizes[-2:]]
        targets.append(Target(f"{name}: time per container at {sizes[-1]} by {sizes[-2]}", each[1] / each[0], 1.5))
    return targets


def applying(rounds: int) -> list[Target]:
    """apply of 20 changes and 50 live updates against a playbook that only pings."""
    bare: list[float] = []
    mine: list[float] = []
    with TemporaryDirectory() as folder, PrivateEngine(hosts.CONFIG, files=hosts.FILES) as host:
        host.load_image()
        where = Path(folder)
        (where / "ping.yml").write_text(PING, encoding="utf-8")
        inventory = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}
        inventory["all"]["hosts"]["localhost"]["ansible_python_interpreter"] = sys.executable
        (where / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
        baseline = hosts.baseline(where)
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        for number in range(rounds):
            hosts.make_bad(host)
            plan = str(where / f"plan-{number}.json")
            host.remediator("plan", *hosts.POLICY, "--baseline", baseline, "-o", plan, code=2)
            hosts.check(Path(plan))
            started = time.perf_counter()
            host.run(ansible, "-i", f"{where}/inventory.json", f"{where}/ping.yml")
            middle = time.perf_counter()
            host.remediator("apply", plan, "--yes", code=2)
            bare.append(middle - started)
            mine.append(time.perf_counter() - middle)
    show("ansible-playbook that pings", bare)
    show("remediator apply, 20 changes, 50 containers", mine, bare)
    return [Target("apply", ratio(mine, bare), 8.0)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--only", choices=("start", "read", "apply"), help="one part alone")
    arguments = parser.parse_args()
    reason = unavailable_reason()
    if reason and arguments.only != "start":
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    print(f"{'seconds':44} {'median':>9} {'min':>9} {'ratio':>8} {'of min':>8}")
    targets: list[Target] = []
    if arguments.only in (None, "start"):
        targets += start(arguments.rounds * 4)
    if arguments.only in (None, "read"):
        targets += reading(arguments.rounds, [10, 100, 300])
    if arguments.only in (None, "apply"):
        targets += applying(max(3, arguments.rounds // 2 + 1))
    print()
    for one in targets:
        print(f"{'met   ' if one.met else 'MISSED'}  {one.name}: {one.value:.2f}, at most {one.limit:g}")
    missed = [one.name for one in targets if not one.met]
    print(
        f"targets: {len(targets) - len(missed)} of {len(targets)} met{': not ' + ', '.join(missed) if missed else ''}"
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
