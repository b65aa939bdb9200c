"""The daemon on the way back."""

from __future__ import annotations

from .engine import Engine, HangsError
from .files import Document, GuardError, Report
from .keep import let_go
from .proof import await_effect, not_in_effect
from .rescue import RESCUE_UNIT, in_rescue, rescue
from .restore import config_of, ours, put_back, put_with, undo_directories, undo_file
from .store import Run
from .swarm import drain

RESCUED = "the daemon does not start with the files of before"


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
    index, defaults = config_of(run, request), request["activation"]["defaults"]
    if index is None:
        return
    if not ours(run, run.before["files"][index]):
        return  # undo_files says so
    if defaults:
        put_with(run, index, defaults)
    else:
        put_back(run, index, run.before["files"][index])
    engine.reload()
    await_effect(engine, [one for one in run.before["live"] if one["reload"]], "the reload back")
    told["changed"].append("reload the daemon")


def _make_way(run: Run, engine: Engine, before: Document, activation: Document, info: Document) -> None:
    """Stop what a daemon under live-restore would leave running for one that cannot do with it.

    One without live-restore kills at its start what runs, and the bridge takes no other options while anything runs.
    What runs is written down in any case: what a restart stops is started again by `undo`.
    """
    if info is None:
        return
    names = list(engine.containers())
    run.remember("stop back", "will", names=names)
    icc = any(one["key"] == "icc" for one in activation["expect"])
    icc = icc or (_took_deferred(run, engine, before) and "icc" in [one["key"] for one in before["deferred"]])
    if info.get("LiveRestoreEnabled") and (icc or not before["live_restore"]):
        engine.stop(names)
    run.remember("stop back", "did")


def _left_alone(request: Document, before: Document, told: Report) -> bool:
    """Whether all that the daemon reads was changed by someone else since: a restart would only take that up."""
    activation = request["activation"]
    watched = [activation["config"], *activation["sources"]]
    edited = [one["path"] for one in before["files"] if one["after"] is not None and one["path"] in watched]
    return bool(edited) and all(any(one.startswith(path + ": ") for one in told["left"]) for path in edited)


def _took_deferred(run: Run, engine: Engine, before: Document) -> bool:
    """Whether a start in the middle of a run, as by a boot, has taken up what the run was to leave pending.

    Of a run that was confirmed it stays so, see `stays`.
    """
    deferred = run.request["activation"].get("deferred", [])  # older runs have none
    if not deferred or run.has("confirm") or engine.started() == before["started"]:
        return False
    return any("from" not in one for one in deferred) or bool(not_in_effect(engine, before["deferred"]))


def stays(run: Run, engine: Engine, before: Document, told: Report, anew: bool) -> list[str]:
    """What the run had left pending and a start since has put into effect: it stays so until the next start.

    Nobody agreed to a restart for it. `anew` says that the way back has started the daemon.
    """
    activation = run.request["activation"]
    left = any(one.startswith(activation["config"] + ": ") for one in told["left"])
    deferred = activation.get("deferred", [])  # older runs have none
    if not deferred or left or engine.started() == before["started"]:
        return []
    keys = [one["key"] for one in before["deferred"] if not_in_effect(engine, [one])]
    keys += [one["key"] for one in deferred if "from" not in one and not anew]
    taken = "%s: the daemon was started since the run, and does as the run had it until it is next started"
    told_of_bridge = ", for icc with no container running" if "icc" in keys else ""
    return [taken % ", ".join(keys) + told_of_bridge] if keys else []


def _went_back(run: Run, engine: Engine) -> bool:
    """Whether the daemon that runs was started by an earlier way back."""
    done = [one for one in run.journal() if one["step"] == "restart back" and one["state"] == "did"]
    return bool(done) and done[-1]["started"] == engine.started()


def undo_daemon(
    run: Run, request: Document, engine: Engine, before: Document, told: Report, stuck: str, kept: int | None
) -> bool:
    """Make the daemon run with what it ran with before, if it has taken up anything else, or does not run.

    `stuck` says why it did not go back by a reload, where it did not; `kept` is what `keep_alive` gave. Returns whether
    it was started anew.
    """
    activation = request["activation"]
    begun = run.has("restart") and not run.did("restart")  # our own start failed, or hangs, or is still to come
    info = engine.info()
    if not begun and info is not None and _left_alone(request, before, told):
        return False
    took = info is not None and _took_deferred(run, engine, before)
    same = engine.started() == before["started"] or taken_up(run, engine, before)
    if not begun and info is not None and same and not took:
        if not stuck:
            return False
        if activation["action"] != "restart" and not info.get("LiveRestoreEnabled"):
            told["errors"].append(stuck)  # nobody agreed to containers being stopped
            return False
    elif not begun:
        if info is None:
            engine.settle(10)  # killed, and being started again by systemd
            info = engine.info()
            took = info is not None and _took_deferred(run, engine, before)
        if activation["action"] == "none" and info is not None and not took:
            return False
    if info is not None and in_rescue():
        told["errors"].append("%s: it runs by %s" % (RESCUED, RESCUE_UNIT))
        return True
    if info is not None and _went_back(run, engine) and not told["changed"]:
        if kept is None and not not_in_effect(engine, before["live"]):
            return True
        if kept is not None and let_go(run, engine, kept, told):
            return True
        kept = None
    if activation["manager"] and info is not None:
        try:
            drain(run, engine)
        except GuardError as refused:
            told["left"].append("the tasks of this node: %s" % refused)
    return _start_back(run, engine, before, activation, told, kept, info)


def _start_back(
    run: Run,
    engine: Engine,
    before: Document,
    activation: Document,
    told: Report,
    kept: int | None,
    info: Document,
) -> bool:
    error, alive = "", kept is not None
    if kept is None:
        _make_way(run, engine, before, activation, info)
    for _ in (1, 2, 3):
        run.remember("restart back", "will")
        try:
            engine.restart(activation["reload_units"])
        except GuardError as failed:
            error = str(failed)
            if kept is not None:
                undo_file(run, kept, told)
                undo_directories(run.before)
                kept = None
            if isinstance(failed, HangsError):
                break
            continue
        if kept is not None and not let_go(run, engine, kept, told):
            kept, alive = None, False
            _make_way(run, engine, before, activation, engine.info())
            continue
        run.remember("restart back", "did", started=engine.started())
        told["changed"].append("restart the daemon")
        return True
    run.remember("rescue", "will")
    try:
        how = rescue(engine, before, activation["config"], alive)
        told["errors"].append("%s: %s; %s" % (RESCUED, error, how))
        run.remember("rescue", "did")
    except (GuardError, OSError) as failed:
        told["errors"].append("%s: %s; %s" % (RESCUED, error, failed))
    return True
