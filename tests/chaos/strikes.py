"""Faults: what is done to a host, or to the control machine, at a moment."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.fleet import Fleet
from tests.chaos.moments import Moment
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.processes import descendants, kill

EVERYWHERE = ("control", "ansible")  # hit all hosts of a run at once
ALONE = ("dockerd", "guard", "network", "reboot")
KINDS = (*ALONE, *EVERYWHERE)

GUARDS = r"""
import os, signal
killed = 0
for pid in [int(one) for one in os.listdir("/proc") if one.isdigit() and int(one) != os.getpid()]:
    try:
        if "guard.py" in open("/proc/%d/cmdline" % pid).read():
            os.kill(pid, signal.SIGKILL)
            killed += 1
    except OSError:
        continue
print(killed)
"""


@dataclass(frozen=True)
class Strike:
    """One fault to be made on a host at a moment, `delay` seconds after it."""

    kind: str
    moment: Moment
    delay: float


def strike(one: Strike, host: Host, fleet: Fleet, process: subprocess.Popen[bytes]) -> bool:
    """Do it; False where there was nothing (any more) that it could hit."""
    try:
        if one.kind in EVERYWHERE:
            found = descendants(process.pid) if one.kind == "control" else _ansible(process.pid)
            if process.poll() is not None or not found:
                return False
            kill(found)
        elif one.kind == "dockerd":
            return host.run(["sh", "-c", "kill -9 $(cat /run/docker.pid)"], check=False).returncode == 0
        elif one.kind == "guard":
            return host.run(["python3", "-"], input=GUARDS).stdout.strip() != "0"
        elif one.kind == "network":
            _cut(fleet, host, random.Random(str(one)).choice((3, fleet.limit + 10)))
        else:
            host.kill()
            host.start()
            host.wait_ready(docker=False)
    except (LabError, OSError) as error:
        fleet.say(f"{host.name}: {one.kind}: {error}")
    return True


def _ansible(pid: int) -> list[int]:
    found = []
    for one in descendants(pid):
        try:
            if b"ansible" in Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0remediator\0")[0] and one != pid:
                found.append(one)
        except OSError:
            continue
    return found


def _cut(fleet: Fleet, host: Host, seconds: float) -> None:
    """Take the host's cable out of the lab's bridge, and put it in again later."""
    last = host.ip.split(".")
    words = ["nsenter", f"--net={fleet.lab.netns}", "ip", "link", "set", f"rlab-{last[2]}.{last[3]}"]
    subprocess.run([*words, "down"], check=False)
    timer = threading.Timer(seconds, lambda: subprocess.run([*words, "up"], check=False))
    timer.start()
    fleet.timers.append(timer)


def pause(seconds: float) -> None:
    """Let the step get on a little."""
    time.sleep(seconds)
