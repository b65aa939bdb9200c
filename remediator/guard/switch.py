"""The dead-man's switch: the host takes a run back by itself unless somebody confirms it in time."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from .engine import call, unit_word
from .files import Document, GuardError, sync, write_file
from .store import Run, Store, boot_id, uptime

UNITS = "/etc/systemd/system"
BOOT_UNIT = "remediator-guard-boot.service"
CRON_FILE = "/etc/cron.d/remediator-guard"  # without a dot, or Debian's cron does not read it
LOCAL_FILE = "/etc/local.d/remediator-guard.start"
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # cron's own path is without sbin
SWITCH = "remediator-guard"  # the name of the transient timer and of what it starts
AGAIN = ["--property=Restart=on-failure", "--property=RestartSec=5"]  # a guard that is killed goes on


def on_systemd(root: str) -> bool:
    """Whether this host is run by systemd; a file tree is not."""
    return root == "/" and os.path.isdir("/run/systemd/system")


def arm(store: Store, run: Run, request: Document, reason: str = "") -> None:
    """See to it that the run is taken back unless it is confirmed in time, also after a boot.

    A transient timer of systemd, and a unit for the next boot; where there is no systemd a detached process, and
    files for cron and OpenRC. With a reason the run is being taken back, which then is to go on by itself. The run is
    open only once all of it stands; raises GuardError where it cannot stand.
    """
    try:
        _arm(store, run, request, reason)
    except (OSError, GuardError) as error:
        disarm(store, request["root"])
        raise GuardError("the dead-man's switch cannot be armed: %s" % error) from error


def _arm(store: Store, run: Run, request: Document, reason: str) -> None:
    words = [os.path.realpath(sys.executable), os.path.join(store.home, "guard.py")]  # of no environment that may go
    if on_systemd(request["root"]):
        _boot_unit(words)
        # one that waits in the loop of `expire` is of an older arming: who holds the lock is here
        call(["systemctl", "stop", SWITCH + ".timer", SWITCH + ".service"], 30)
        call(["systemctl", "reset-failed", SWITCH + ".service", SWITCH + ".timer"], 30)
        given = ["--unit=" + SWITCH, "--on-active=%d" % max(1, request["limit"]), "--timer-property=AccuracySec=100ms"]
        code, _, told = call(["systemd-run", *given, *AGAIN, *words, "expire", run.name], 30)
        if code:
            raise GuardError(told)
    elif request["root"] == "/" and not _boot_files(words):
        run.remember("arm", "did", left="a boot ends the switch: there is neither /etc/cron.d nor /etc/local.d")
    known = {"run": run.name, "plan": request["plan"], "control": request["control"], "root": request["root"]}
    store.open(dict(known, deadline=uptime() + request["limit"], boot=boot_id(), undo=reason))
    if request["root"] == "/" and not on_systemd("/"):
        subprocess.Popen(
            [*words, "expire", run.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )


def _boot_unit(words: list[str]) -> None:
    # not after docker.service, which might hang at its start: the guard itself waits for it, and not for ever
    unit = (
        "[Unit]\nDescription=Take back a change of Docker that was not confirmed before the boot\n"
        "[Service]\nExecStart=%s boot\nRestart=on-failure\nRestartSec=5\n" % " ".join(unit_word(one) for one in words)
    )
    wants = os.path.join(UNITS, "multi-user.target.wants")
    os.makedirs(wants, 0o755, exist_ok=True)
    write_file(os.path.join(UNITS, BOOT_UNIT), unit.encode(), 0o644)
    link = os.path.join(wants, BOOT_UNIT)
    if not os.path.islink(link):
        os.symlink(os.path.join(UNITS, BOOT_UNIT), link)
        sync(wants)


def _boot_files(words: list[str]) -> bool:
    """Have cron and OpenRC start the guard at the next boot; whether this host has a directory of any of them.

    Both where there are both: /etc/cron.d is there without a cron as well, and who comes second finds nothing to do.
    """
    command = " ".join(shlex.quote(one) for one in [*words, "boot"])
    job = "SHELL=/bin/sh\nPATH=%s\n@reboot root %s\n" % (SBIN, command.replace("%", "\\%"))  # % is cron's end of a line
    script = "#!/bin/sh\nPATH=%s %s </dev/null >/dev/null 2>&1 &\n" % (SBIN, command)  # the boot does not wait for it
    found = False
    for path, text, mode in ((CRON_FILE, job, 0o644), (LOCAL_FILE, script, 0o755)):
        if os.path.isdir(os.path.dirname(path)):
            write_file(path, text.encode(), mode)
            found = True
    return found


def is_armed(root: str) -> bool:
    """Whether the timer waits, or what it has started does: it goes by the deadline of the open run."""
    units = [SWITCH + ".timer", SWITCH + ".service"] if on_systemd(root) else []
    return any(call(["systemctl", "is-active", "--quiet", one], 30)[0] == 0 for one in units)


def extend(store: Store, request: Document) -> None:
    """Count the time to confirm from now on."""
    known = store.current()
    if known is not None:
        store.open(dict(known, deadline=uptime() + request["limit"], boot=boot_id()))


def disarm(store: Store, root: str) -> None:
    """Nothing is to be taken back any more."""
    store.close()
    if root != "/":
        return
    link = os.path.join(UNITS, "multi-user.target.wants", BOOT_UNIT)
    for path in (link, os.path.join(UNITS, BOOT_UNIT), CRON_FILE, LOCAL_FILE):
        try:
            os.unlink(path)
        except OSError:
            pass  # not there, or not to be removed: it finds nothing to do
    if on_systemd(root):
        call(["systemctl", "stop", SWITCH + ".timer"], 30)
