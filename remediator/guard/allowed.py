"""What a run is refused for before anything is changed: its plan, the daemon, and the configuration to come."""

from __future__ import annotations

import json
import os
import time

from .engine import Engine, call
from .files import Document, GuardError, read_bytes, write_file
from .proof import is_temporary
from .rescue import RESCUE_UNIT, in_rescue
from .store import Run, Store
from .swarm import no_quorum, unforeseen


def must_be_here(request: Document) -> None:
    """Raise GuardError for a plan that was made for another host."""
    try:
        with open(os.path.join(request["root"], "etc/machine-id"), encoding="ascii", errors="replace") as file:
            here = file.read().strip()
    except OSError:
        here = ""
    if request["machine"] != here:
        told = "the plan was made for the host with machine-id %s, and this one has %s"
        raise GuardError(told % (request["machine"] or "(none)", here or "(none)"))


def must_be_new(store: Store, request: Document) -> None:
    """Raise GuardError for a plan that has expired, or that was applied here before; a run of it may be open."""
    if (store.current() or {}).get("plan") == request["plan"]:
        return
    if request["expires"] and time.time() > request["expires"]:
        raise GuardError("the plan has expired, by the clock of this host. Plan again.")
    if used := store.used(request["plan"], request["run"]):
        raise GuardError("the plan was applied already, by run %s. Plan again." % used)


def can_start(engine: Engine, activation: Document) -> None:
    """Raise GuardError where the daemon must not be stopped, or would not be started again whatever its configuration
    says."""
    if activation["manager"] and activation["action"] == "restart" and (reason := no_quorum(engine)):
        raise GuardError(reason)
    if masked := engine.masked():
        raise GuardError("%s is masked: the daemon could not be started again" % " and ".join(masked))
    if in_rescue():
        raise GuardError(
            "the daemon runs by %s, since its own files let none start: put them right, remove that file, and restart "
            "it (systemctl daemon-reload, systemctl restart docker)" % RESCUE_UNIT
        )


def as_foreseen(engine: Engine, activation: Document) -> None:
    """Raise GuardError where a restart or live-restore would do what the plan could not know of."""
    info = engine.info() or {}
    if told := unforeseen(activation, info):
        raise GuardError(told)
    if activation["action"] != "restart":
        return
    lost = [name for name, one in engine.containers().items() if is_temporary(one)]
    if new := [name for name in lost if name not in activation["temporary"]]:
        told = (
            "the restart of the daemon would remove these, which run with --rm since the plan was made: %s. Plan again."
        )
        raise GuardError(told % ", ".join(new))


def _to_come(run: Run, request: Document) -> str:
    """Where the text stands that is to be the daemon's configuration: in the run, unless it is in its place already."""
    config = request["activation"]["config"]
    staged = [run.file("new", str(one["index"])) for one in request["files"] if one["path"] == config]
    return staged[0] if staged and os.path.exists(staged[0]) else config


def _no_profile(config: str) -> str:
    """Why no container would start after a restart, for a seccomp profile that the daemon looks into only then."""
    try:
        path = (json.loads((read_bytes(config) or b"{}").decode("utf-8-sig")) or {}).get("seccomp-profile")
    except (ValueError, AttributeError):
        return ""  # others say so
    if not isinstance(path, str) or not path.startswith("/"):
        return ""  # none, or one that is built in
    try:
        json.loads((read_bytes(path) or b"").decode())
    except (OSError, ValueError) as error:
        return "%s: is no seccomp profile, and no container would start after a restart: %s" % (path, error)
    return ""


def has_profile(run: Run, request: Document) -> None:
    """Raise GuardError where no container would start after the restart, or after the next start."""
    activation = request["activation"]
    starts = activation["action"] == "restart" or activation["deferred"]
    if starts and (told := _no_profile(_to_come(run, request))):
        raise GuardError(told)


def try_out(run: Run, request: Document) -> None:
    """Have the engine's own program look at the configuration to come, where it can; raises GuardError where it
    refuses it."""
    words = list(request["activation"]["validate"])
    if not words:
        return
    config = _to_come(run, request)
    if not os.path.exists(config):  # that a start does without, and a trial does not
        config = run.file("new", "none.json")
        write_file(config, b"{}\n")
    code, out, err = call([*words[:-1], config], 30)
    if code:
        raise GuardError("the engine refuses the configuration: " + (err or out))
