"""Receipts: what an apply did, kept on disk, one JSON file a run."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import InputError, RemediatorError
from ..model import FORMAT_VERSION, Finding, HostId, Model
from ..patch import digest
from ..plan.model import HostPlan
from ..plan.plan import LIFETIME
from ..plan.playbook import STATE

KEEP: Final = 100  # receipts; older ones are removed, once the plans that they say were used have expired


class HostReceipt(Model, frozen=True):
    """What happened on one host: findings that a fresh look confirmed, that await activation, that stayed.

    `documents` are the touched resources as they were afterwards, by kind. `run` is what the host's guard calls
    the run. `undone` says why it was taken back, and `left` what that did not touch, and why.
    """

    host: HostId
    ok: bool
    fixed: tuple[Finding, ...] = ()
    pending: tuple[Finding, ...] = ()
    failed: tuple[Finding, ...] = ()
    changed: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    documents: dict[str, dict[str, Any]] = {}
    run: str = ""
    undone: str = ""


class Receipt(Model, frozen=True):
    """One run: its plan's digest, who signed it, its hosts' plans (for rolling back), what became of them."""

    run: str
    kind: str
    started_at: str
    finished_at: str
    plan: str
    baseline: str
    hosts: tuple[HostReceipt, ...]
    plans: tuple[HostPlan, ...]
    undoes: str = ""
    inventory: str = ""
    signed_by: str = ""
    format_version: int = FORMAT_VERSION

    @property
    def ok(self) -> bool:
        return all(one.ok for one in self.hosts)


def folder(root: str = "/") -> Path:
    """Where receipts of a host or file tree are: in REMEDIATOR_STATE, else below its root.

    Someone without write access to the host's own directory has one in their home.
    """
    if given := os.environ.get("REMEDIATOR_STATE"):
        return Path(given)
    if root == "/" and os.geteuid() != 0:
        return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "remediator"
    return Path(root) / STATE.lstrip("/")


def control(where: Path) -> str:
    """What tells this control machine, and its directory of receipts, from others."""
    try:
        machine = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        machine = ""
    return digest([machine or platform.node(), str(where.resolve())])[:16]


def prepare(where: Path) -> Path:
    """Make the directory of receipts (0700); raises RemediatorError where others could write to it."""
    runs = where / "runs"
    try:
        runs.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = where.lstat()
    except OSError as error:
        raise RemediatorError(
            f"{where}: {(error.strerror or str(error)).lower()}",
            "set REMEDIATOR_STATE to a directory of yours",
        ) from error
    if info.st_uid != os.geteuid() or info.st_mode & 0o022:
        raise RemediatorError(f"{where}: is not yours alone to write", "chown it to you, and chmod 0700")
    return runs


def write(where: Path, receipt: Receipt) -> Path:
    """Keep a receipt (0600, written whole or not at all), and remove those beyond KEEP whose plans have expired."""
    runs = prepare(where)
    path = runs / f"{receipt.run}.json"
    descriptor, name = tempfile.mkstemp(dir=runs, prefix=".", suffix=".new")
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(receipt), indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
    expired = (datetime.now(UTC) - LIFETIME).strftime("%Y%m%dT%H%M%SZ")
    for old in _paths(where)[:-KEEP]:
        if old.name < expired:
            old.unlink(missing_ok=True)
    return path


def _paths(where: Path) -> list[Path]:
    runs = where / "runs"
    if not runs.is_dir():
        return []
    return sorted(one for one in runs.iterdir() if re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}\.json", one.name))


def _read(path: Path) -> Receipt:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Receipt)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(
            f"{path}: not a receipt: {error}", "move it away; the other receipts are not touched"
        ) from error


def history(where: Path) -> list[Receipt]:
    """All receipts, the oldest first."""
    return [_read(path) for path in _paths(where)]


def find(where: Path, run: str) -> Receipt:
    """The receipt of a run, named by its id or the beginning of it; raises InputError where there is not one."""
    named = [path for path in _paths(where) if path.name.startswith(run)] if run else []
    if len(named) != 1:
        known = ", ".join(path.stem for path in _paths(where)[-5:]) or "none yet"
        raise InputError(
            f"run '{run}': {'several are named so' if named else 'there is none'}", f"the last runs: {known}"
        )
    return _read(named[0])
