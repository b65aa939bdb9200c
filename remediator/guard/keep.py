"""Containers that live-restore keeps alive over the restart of the way back to a daemon without it.

A daemon that is started without live-restore kills at its start what runs, and may then lose track of it (seen with
28.5: started and killed over and over). So it is started once more with live-restore, which a reload then switches off.
"""

from __future__ import annotations

from .engine import Engine
from .files import Document, GuardError, Report, read_bytes, sha256
from .proof import await_effect
from .rescue import flagged
from .restore import config_of, ours, put_with, undo_directories, undo_file
from .store import Run

LIVE_RESTORE = {"key": "live-restore", "from": "info", "pointer": "/LiveRestoreEnabled", "value": False}


def keep_alive(run: Run, request: Document, before: Document) -> int | None:
    """Which file is the daemon's configuration, now as before but with live-restore: before any other goes back.

    At no time is there one without it, since the daemon may be started by others. None where that cannot be: the run
    did not come to a restart under live-restore, only the bridge's start without containers gives back what it was,
    or the file is not ours to write, or is back already.
    """
    expected = {one["key"]: one["value"] for one in request["activation"]["expect"]}
    index = config_of(run, request)
    if index is None or expected.get("live-restore") is not True or "icc" in expected or not run.has("restart"):
        return None
    entry = run.before["files"][index]
    try:
        known = sha256(read_bytes(entry["path"]))
        if before["live_restore"] or flagged(before["words"], "live-restore") or known == entry["before"]:
            return None
        if not ours(run, entry):
            return None
        put_with(run, index, {"live-restore": True})
    except (OSError, GuardError, ValueError):
        return None
    return index


def let_go(run: Run, engine: Engine, index: int, told: Report) -> bool:
    """Switch live-restore off by a reload, which stops nothing, and put the old configuration in its place.

    Returns whether the daemon has taken it up.
    """
    worked = True
    if ours(run, run.before["files"][index]):
        try:
            put_with(run, index, {"live-restore": False})
            engine.reload()
            await_effect(engine, [LIVE_RESTORE], "the reload back")
        except (OSError, GuardError):
            worked = False
    undo_file(run, index, told)
    undo_directories(run.before)
    return worked
