"""The dead-man's switch: the host takes a run back by itself unless somebody confirms it in time."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from .engine import call
from .files import Document, GuardError, write_file
from .store import Run, Store

UNITS = "/etc/systemd/system"
BOOT_UNIT = "remediator-guard-boot.service"
SWITCH = "remediator-guard"  # the name of the transient timer and of what it starts


def on_systemd(request: Document) -> bool:
    """Whether this host is run by systemd; a file tree is not."""
    return request["root"] == "/" and os.path.isdir("/run/systemd/system")


def arm(store: Store, run: Run, request: Document) -> None:
    """See to it that the run is taken back unless it is confirmed in time, also after a boot.

    A transient timer of systemd, and a unit for the next boot; a detached process where there is no systemd.
    """
    known = {"run": run.name, "plan": request["plan"], "control": request["control"]}
    store.open(dict(known, deadline=time.time() + request["limit"]))
    if request["root"] != "/":
        return  # a file tree: nothing runs here
    words = [sys.executable, os.path.join(store.home, "guard.py")]
    if not on_systemd(request):
        subprocess.Popen(
            [*words, "expire", run.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        return
    unit = (
        "[Unit]\nDescription=Take back a change of Docker that was not confirmed before the boot\n"
        "After=docker.service docker.socket containerd.service\n\n"
        "[Service]\nType=oneshot\nExecStart=%s %s boot\n" % (words[0], words[1])
    )
    wants = os.path.join(UNITS, "multi-user.target.wants")
    os.makedirs(wants, 0o755, exist_ok=True)
    write_file(os.path.join(UNITS, BOOT_UNIT), unit.encode(), 0o644)
    link = os.path.join(wants, BOOT_UNIT)
    if not os.path.islink(link):
        os.symlink(os.path.join(UNITS, BOOT_UNIT), link)
    call(["systemctl", "stop", SWITCH + ".timer"], 30)
    call(["systemctl", "reset-failed", SWITCH + ".service", SWITCH + ".timer"], 30)
    given = ["--unit=" + SWITCH, "--on-active=%d" % max(1, request["limit"]), "--timer-property=AccuracySec=100ms"]
    code, _, told = call(["systemd-run", *given, *words, "expire", run.name], 30)
    if code:
        raise GuardError("the dead-man's switch cannot be armed, and nothing was changed: " + told)


def extend(store: Store, request: Document) -> None:
    """Count the time to confirm from now on."""
    known = store.current()
    if known is not None:
        store.open(dict(known, deadline=time.time() + request["limit"]))


def disarm(store: Store, request: Document) -> None:
    """The run is over: nothing is to be taken back any more."""
    store.close()
    if on_systemd(request):
        for path in (os.path.join(UNITS, "multi-user.target.wants", BOOT_UNIT), os.path.join(UNITS, BOOT_UNIT)):
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        call(["systemctl", "stop", SWITCH + ".timer"], 30)
