"""The last resort: the daemon is started as the one that ran before was, whatever its files say by now.

Files that somebody else changed since that daemon was started are part of what is restored, and may let no daemon
start. They are restored all the same; the daemon then runs by a drop-in that is gone with the next boot.
"""

from __future__ import annotations

import json
import os
from typing import Any

from .engine import Engine, unit_word
from .files import Document, GuardError, write_file

RESCUE_UNIT = "/run/systemd/system/docker.service.d/zzz-remediator-rescue.conf"
RESCUE_CONFIG = "/run/remediator-rescue.json"
# What the daemon has to have to find its images, containers and networks
STRUCTURE = (
    "data-root", "exec-root", "userns-remap", "storage-driver", "storage-opts", "exec-opts", "cgroup-parent",
    "bridge", "bip", "default-address-pools", "ipv6", "fixed-cidr", "fixed-cidr-v6", "containerd", "runtimes",
    "default-runtime",
)  # fmt: skip


def in_rescue() -> bool:
    """Whether the daemon runs by the last resort of an earlier run."""
    return os.path.exists(RESCUE_UNIT)


def rescue(engine: Engine, before: Document, config: str, alive: bool) -> str:
    """Start the daemon as it ran before; says how, for the person who has to put its files right.

    What is `alive` is not to be killed by the start, which is one with live-restore then; a reload switches that off.
    Raises GuardError where it does not start so either, or where this host has no systemd.
    """
    if not (engine.systemd and before["words"]):
        raise GuardError("how it ran before is not known")
    words = _without_config(before["words"])
    live = {} if flagged(words, "live-restore") else {"live-restore": before["live_restore"] or alive}
    root = {} if flagged(words, "data-root") or "-g" in words else {"data-root": before["data_root"]}
    try:
        with open(config, encoding="utf-8-sig") as file:
            old = json.load(file)
    except (OSError, ValueError):
        old = {}
    kept = {key: old[key] for key in STRUCTURE if isinstance(old, dict) and key in old and not flagged(words, key)}
    if "userns-remap" in kept:
        root = {}  # the engine tells it with what the remapping adds
    error = ""
    for document in ({**root, **kept, **live}, {**root, **live}):
        write_file(RESCUE_CONFIG, json.dumps(document).encode())
        os.makedirs(os.path.dirname(RESCUE_UNIT), 0o755, exist_ok=True)
        write_file(RESCUE_UNIT, _unit([*words, "--config-file=" + RESCUE_CONFIG]).encode(), 0o644)
        try:
            engine.restart(units=True)
        except GuardError as failed:
            error = str(failed)
            continue
        if live and live["live-restore"] != before["live_restore"]:
            write_file(RESCUE_CONFIG, json.dumps(dict(document, **{"live-restore": False})).encode())
            engine.reload()
        return "the daemon runs as before by %s, until the next boot" % RESCUE_UNIT
    os.unlink(RESCUE_UNIT)
    os.unlink(RESCUE_CONFIG)
    engine.reread()
    raise GuardError(error)


def _unit(words: list[str]) -> str:
    """A drop-in by which systemd starts just this."""
    quoted = " ".join(unit_word(one) for one in words)
    lines = ["[Service]", "ExecCondition=", "ExecStartPre=", "ExecStartPost=", "ExecStart=", "ExecStart=" + quoted]
    return "\n".join([*lines, "EnvironmentFile=", "Type=notify", ""])


def flagged(words: list[str], key: str) -> bool:
    """Whether a flag of a command line gives a key of daemon.json; some flags have the singular for a list."""
    names = ["--" + key, "--" + key.rstrip("s")]
    return any(word in names or word.startswith(tuple(name + "=" for name in names)) for word in words[1:])


def _without_config(words: list[str]) -> list[Any]:
    """A command line without the name of a configuration file."""
    found, skip = [], False
    for word in words:
        if not skip and word != "--config-file" and not word.startswith("--config-file="):
            found.append(word)
        skip = word == "--config-file"
    return found
