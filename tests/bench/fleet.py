"""Measures of many hosts: `python -m tests.bench.fleet`. Each ratio is from one run; the last line tells.

Collecting from six real servers over ssh against a bare ansible ping of the same, and planning for 1,000 and
10,000 recorded hosts of 50 containers each.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.recipe import GENERATIONS

BIN = Path(sys.executable).parent
CONTAINERS = 50
ROUNDS = 5
UNSAFE = ("--fix", "unsafe", "--max-disruption", "restart")


def _seconds(*argv: str) -> float:
    start = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def _fill(host: Host, count: int) -> None:
    host.load_image()
    for index in range(count):
        host.run_container(f"app-{index}", *(("--network", "host") if index % 7 == 0 else ()))


def collect_against_ping(inventory: Path) -> tuple[float, float]:
    """Median seconds of `remediator collect` and of `ansible -m ping`, taken in turns."""
    collects, pings = [], []
    for _ in range(ROUNDS):
        pings.append(_seconds(str(BIN / "ansible"), "-i", str(inventory), "all", "-m", "ping"))
        collects.append(_seconds(str(BIN / "remediator"), "collect", "-i", str(inventory), "-o", os.devnull))
    return statistics.median(collects), statistics.median(pings)


def record(state: dict[str, Any], hosts: int, path: Path) -> None:
    """Write the states of a fleet: a real one of 50 containers, with names, ids and uses of each host's own."""
    containers = state["facts"]["container"]
    with path.open("w", encoding="utf-8") as file:
        for number in range(hosts):
            state["host"] = {"name": f"host-{number}", "machine_id": f"{number:032x}"}
            for index, one in enumerate(containers.values()):
                one["document"]["Id"] = f"{number:032x}{index:032x}"
                one["evidence"]["live"]["memory_peak"] = 2**20 * (20 + (number * 7 + index * 13) % 400)
            file.write(json.dumps(state) + "\n")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def _memory(pid: int) -> int:
    """Proportional set size of a process and its children, in bytes."""
    total = 0
    for one in _tree(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def plan_fleet(states: Path, plan: Path) -> tuple[float, int]:
    """Seconds of `remediator plan` for a fleet, and the most memory that all its processes took (bytes)."""
    start = time.perf_counter()
    argv = [str(BIN / "remediator"), "plan", "--state", str(states), *UNSAFE, "-o", str(plan)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):  # a process ended just now
            peak = max(peak, _memory(process.pid))
        time.sleep(0.2)
    if process.returncode != 2:
        raise SystemExit(f"planning ended with {process.returncode}")
    return time.perf_counter() - start, peak


def _recorded(lab: Lab, host: Host, out: Path) -> Any:
    """The state of a host with 50 containers."""
    _fill_more(host, CONTAINERS)
    _seconds(str(BIN / "remediator"), "collect", "-i", str(lab.inventory()), "--limit", host.name, "-o", str(out))
    state = json.loads(out.read_text())
    if len(state["facts"]["container"]) != CONTAINERS:
        raise SystemExit(f"the recorded host has {len(state['facts']['container'])} containers")
    return state


def main() -> int:
    """Measure, print the table, and tell which targets are met; 0 when all are."""
    met: dict[str, bool] = {}
    with tempfile.TemporaryDirectory(prefix="remediator-bench-") as name:
        folder = Path(name)
        with Lab.create() as lab:
            hosts = lab.host_group([("", one) for one in [*GENERATIONS, *GENERATIONS]])
            for host in hosts:
                _fill(host, 8)
            collected, pinged = collect_against_ping(lab.inventory())
            state = _recorded(lab, hosts[1], folder / "state.jsonl")
        ratio = collected / pinged
        print(f"{'ansible -m ping of 6 hosts':42} {pinged:8.2f} s")
        print(f"{'collect of 6 hosts over ssh':42} {collected:8.2f} s {ratio:6.2f}x")
        met[f"collect {ratio:.2f}x <= 1.6x"] = ratio <= 1.6

        states, plan = folder / "fleet.jsonl", folder / "plan.json"
        times, peaks = {}, {}
        for count in (1000, 10000):  # with the servers gone, which take some of the machine
            record(state, count, states)
            times[count], peaks[count] = plan_fleet(states, plan)
            each = times[count] / count * 1000
            print(
                f"{f'plan of {count} hosts, 50 containers each':42} {times[count]:8.2f} s {each:14.2f} ms a host "
                f"{peaks[count] / 2**20:8.0f} MiB at most, plan of {plan.stat().st_size / 2**20:.0f} MiB"
            )
    growth = times[10000] / times[1000] / 10
    met[f"10,000 hosts in {times[10000]:.0f} s <= 60 s"] = times[10000] <= 60
    met[f"growth {growth:.2f} of linear <= 1.25"] = growth <= 1.25
    met[f"memory {peaks[10000] / 2**20:.0f} MiB <= 500 MB"] = peaks[10000] <= 500e6
    print("; ".join(f"{name}: {'met' if ok else 'MISSED'}" for name, ok in met.items()))
    return 0 if all(met.values()) else 1


def _fill_more(host: Host, total: int) -> None:
    there = len(host.docker("ps", "-aq").stdout.split())
    for index in range(there, total):
        host.run_container(f"more-{index}", *(("--restart", "always") if index % 3 else ()))


if __name__ == "__main__":
    raise SystemExit(main())
