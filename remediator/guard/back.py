"""Files and the daemon, on the way back."""

from __future__ import annotations

import json
import os
import stat

from .engine import Engine, HangsError
from .files import (
    Document,
    GuardError,
    Report,
    attributes,
    copies,
    put_file,
    read_bytes,
    same_attributes,
    sha256,
    sweep,
    sync,
)
from .proof import await_effect
from .rescue import flagged, rescue
from .store import Run
from .swarm import drain

LIVE_RESTORE = {"key": "live-restore", "from": "info", "pointer": "/LiveRestoreEnabled", "value": False}


def taken_up(run: Run, engine: Engine, before: Document) -> bool:
    """Whether the daemon has taken up the run's configuration by a reload, and goes back by one.

    It is the one of before, or was started since for other reasons while the run itself needed no more than a reload.
    """
    if not run.has("reload") or run.has("restart"):
        return False
    return bool(engine.started() == before["started"] or run.request["activation"]["action"] == "reload")


def reload_back(run: Run, request: Document, engine: Engine, told: Report) -> None:
    """Make the daemon take up by a reload what it did before.

    A reload keeps what is removed from the file (moby: daemon/reload.go takes only keys that are set), so defaults
    of keys that were added are written out, reloaded, and only then the old text restored.
    """
    index, defaults = _config(run, request), request["activation"]["defaults"]
    if index is None:
        return
    if not ours(run, run.before["files"][index]):
        return  # undo_files says so
    if defaults:
        _put_with(run, index, defaults)
    else:
        _restore(run, index, run.before["files"][index])
    engine.reload()
    await_effect(engine, [one for one in run.before["live"] if one["reload"]], "the reload back")
    told["changed"].append("reload the daemon")


def _config(run: Run, request: Document) -> int | None:
    """Which of the edited files is the daemon's configuration."""
    config = request["activation"]["config"]
    return next((index for index, one in enumerate(run.before["files"]) if one["path"] == config), None)


def _put_with(run: Run, index: int, more: Document) -> None:
    """Put the daemon's old configuration in its place with keys that are not to stay in it."""
    entry = run.before["files"][index]
    old = (read_bytes(run.file("backup", str(index))) or b"").decode("utf-8") if entry["there"] else ""
    document = json.loads(old.lstrip("\ufeff")) if old.strip() else {}
    document.update(more)
    between = json.dumps(document, indent=2).encode() + b"\n"
    run.remember("defaults", "will", sha256=sha256(between))
    like = entry if entry["there"] else {"mode": 0o600, "uid": os.geteuid(), "gid": os.getegid()}
    put_file(entry["path"], between, like)


def ours(run: Run, entry: Document) -> bool:
    """Whether a file is as it was before the run, or as this run wrote it.

    Also if what was being written when the power was cut came out empty.
    """
    now = sha256(read_bytes(entry["path"]))
    if entry["after"] is None or now in (entry["before"], entry["after"]):
        return True
    if now == sha256(b"") and run.result is None:
        return True
    return now in [line.get("sha256") for line in run.journal() if line["step"] == "defaults"]


def _restore(run: Run, index: int, entry: Document) -> None:
    """Put one file back as it was: bytes, mode, owner, extended attributes and time."""
    path = entry["path"]
    if not entry["there"]:
        os.unlink(path)
        sync(os.path.dirname(path))
        return
    data = read_bytes(run.file("backup", str(index)))
    if data is None or sha256(data) != entry["before"]:
        raise GuardError("its backup is damaged")
    put_file(path, data, entry, entry["mtime"])


def undo_files(run: Run, before: Document, told: Report) -> None:
    """Put edited files back as they were, but for those that somebody else has changed since."""
    for index, entry in enumerate(before["files"]):
        path = entry["path"]
        try:
            if sha256(read_bytes(path)) != entry["before"]:
                if not ours(run, entry):
                    told["left"].append(path + ": was changed by someone else after the run")
                    continue
                _restore(run, index, entry)
                if entry["after"] is not None:
                    told["changed"].append("restore " + path)
        except (OSError, GuardError) as error:
            told["errors"].append("%s: cannot be restored: %s" % (path, error))
        folder = os.path.dirname(path)
        sweep(folder, before["copies"].get(folder, []) if run.result is None else copies(folder))
    for path in before["made"]:  # the deepest first
        try:
            os.rmdir(path)
        except OSError:
            pass  # others use it by now


def undo_attributes(request: Document, before: Document, told: Report) -> None:
    """Give paths the modes and owners that they had, but for those that somebody else has changed since."""
    edited = {one["path"] for one in before["files"]}
    for planned, was in zip(request["attributes"], before["attributes"]):
        path = was["path"]
        now = attributes(path)
        if "mode" not in was or now is None or (path in edited and any(path in one for one in told["left"])):
            continue
        if (now["mode"], now["uid"], now["gid"]) == (was["mode"], was["uid"], was["gid"]):
            continue
        if not same_attributes(now, planned):
            told["left"].append(path + ": mode or owner was changed by someone else after the run")
            continue
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise GuardError("is a link by now")
            os.chown(path, was["uid"], was["gid"], follow_symlinks=False)
            os.chmod(path, was["mode"])
            told["changed"].append("restore mode and owner of " + path)
        except (OSError, GuardError) as error:
            told["errors"].append("%s: mode and owner cannot be restored: %s" % (path, error))


def _kept_alive(run: Run, request: Document, before: Document, info: Document) -> int | None:
    """Have the daemon start with live-restore once more, so that what runs under it lives on; the file that says so.

    None where that cannot be: nothing lives on anyway, or only the bridge's start without containers gives back what
    it was, or the file is not ours to write.
    """
    expected = {one["key"]: one["value"] for one in request["activation"]["expect"]}
    if info is not None:
        alive = info.get("LiveRestoreEnabled", False)
    else:  # the daemon is gone, and what runs may be there still
        alive = expected.get("live-restore") is True and (run.has("reload") or run.has("restart"))
    index = _config(run, request)
    if not alive or before["live_restore"] or "icc" in expected or index is None:
        return None
    entry = run.before["files"][index]
    try:
        if flagged(before["words"], "live-restore") or sha256(read_bytes(entry["path"])) != entry["before"]:
            return None
        _put_with(run, index, {"live-restore": True})
    except (OSError, GuardError, ValueError):
        return None
    return index


def _let_go(run: Run, engine: Engine, index: int, told: Report) -> None:
    """Switch live-restore off by a reload, which stops nothing, and put the old configuration in its place."""
    try:
        _put_with(run, index, {"live-restore": False})
        engine.reload()
        await_effect(engine, [LIVE_RESTORE], "the reload back")
    except (OSError, GuardError) as error:
        told["errors"].append("the daemon: %s" % error)
    if ours(run, run.before["files"][index]):
        _restore(run, index, run.before["files"][index])
    else:
        told["left"].append(run.before["files"][index]["path"] + ": was changed by someone else after the run")


def _make_way(run: Run, engine: Engine, activation: Document, before: Document, info: Document) -> None:
    """Stop what a daemon under live-restore would leave running for one that cannot do with it.

    One without live-restore kills at its start what runs, and may then lose track of it (seen with 28.5: started and
    killed over and over); the bridge takes no other options while anything runs. It is started again by `undo`.
    """
    if info is None or not info.get("LiveRestoreEnabled"):
        return
    if before["live_restore"] and not any(one["key"] == "icc" for one in activation["expect"]):
        return
    names = list(engine.containers())
    run.remember("stop back", "will", names=names)
    engine.stop(names)
    run.remember("stop back", "did")


def _left_alone(request: Document, before: Document, told: Report) -> bool:
    """Whether all that the daemon reads was changed by someone else since: a restart would only take that up."""
    activation = request["activation"]
    watched = [activation["config"], *activation["sources"]]
    edited = [one["path"] for one in before["files"] if one["after"] is not None and one["path"] in watched]
    return bool(edited) and all(any(one.startswith(path + ": ") for one in told["left"]) for path in edited)


def undo_daemon(run: Run, request: Document, engine: Engine, before: Document, told: Report, stuck: str) -> bool:
    """Make the daemon run with what it ran with before, if it has taken up anything else, or does not run.

    `stuck` says why it did not go back by a reload, where it did not. Returns whether it was started anew.
    """
    activation = request["activation"]
    begun = run.has("restart") and not run.did("restart")  # our own start failed, or hangs, or is still to come
    info = engine.info()
    if not begun and info is not None and _left_alone(request, before, told):
        return False
    if not begun and info is not None and (engine.started() == before["started"] or taken_up(run, engine, before)):
        if not stuck:
            return False
        if activation["action"] != "restart" and not info.get("LiveRestoreEnabled"):
            told["errors"].append(stuck)  # nobody agreed to containers being stopped
            return False
    elif not begun:
        if info is None:
            engine.settle(10)  # killed, and being started again by systemd
            info = engine.info()
        if activation["action"] == "none" and info is not None:
            return False
    done = [one for one in run.journal() if one["step"] == "restart back" and one["state"] == "did"]
    if done and done[-1]["started"] == engine.started() and info is not None and not told["changed"]:
        return True  # by an earlier way back
    if activation["manager"] and info is not None:
        try:
            drain(run, engine)
        except GuardError as refused:
            told["left"].append("the tasks of this node: %s" % refused)
    kept = _kept_alive(run, request, before, info)
    if kept is None:
        _make_way(run, engine, activation, before, info)
    error = ""
    for _ in (1, 2):
        run.remember("restart back", "will")
        try:
            engine.restart(activation["reload_units"])
        except GuardError as failed:
            error = str(failed)
            if kept is not None:
                _restore(run, kept, run.before["files"][kept])
                kept = None
            if isinstance(failed, HangsError):
                break
            continue
        run.remember("restart back", "did", started=engine.started())
        told["changed"].append("restart the daemon")
        if kept is not None:
            _let_go(run, engine, kept, told)
        return True
    run.remember("rescue", "will")
    try:
        told["errors"].append(
            "the daemon does not start with the files of before: %s; %s"
            % (error, rescue(engine, before, activation["config"]))
        )
        run.remember("rescue", "did")
    except (GuardError, OSError) as failed:
        told["errors"].append("the daemon does not start with the files of before: %s; %s" % (error, failed))
    return True
