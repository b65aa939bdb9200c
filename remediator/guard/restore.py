"""Files on the way back: put back as they were, but for those that somebody else has changed since."""

from __future__ import annotations

import json
import os
import stat

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
from .store import Run

GIVEN = "mode and owner of %s: were changed by someone else after the run"


def config_of(run: Run, request: Document) -> int | None:
    """Which of the edited files is the daemon's configuration."""
    config = request["activation"]["config"]
    return next((index for index, one in enumerate(run.before["files"]) if one["path"] == config), None)


def put_with(run: Run, index: int, more: Document) -> None:
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


def _given_since(run: Run, entry: Document) -> Document:
    """The mode and owner that somebody else gave an edited file since the run ended; {} where they are of before, or
    the run's."""
    now = attributes(entry["path"])
    planned = [one for one in run.request["attributes"] if one["path"] == entry["path"]]
    if run.result is None or now is None or any(same_attributes(now, one) for one in planned):
        return {}
    given = {key: now[key] for key in ("mode", "uid", "gid")}
    return {} if all(entry[key] == value for key, value in given.items()) else given


def put_back(run: Run, index: int, entry: Document) -> None:
    """Put one file back as it was: bytes, mode, owner, extended attributes and time."""
    path = entry["path"]
    if not entry["there"]:
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        sync(os.path.dirname(path))
        return
    data = read_bytes(run.file("backup", str(index)))
    if data is None or sha256(data) != entry["before"]:
        raise GuardError("its backup is damaged")
    put_file(path, data, entry, entry["mtime"])


def undo_file(run: Run, index: int, told: Report) -> None:
    """Put one edited file back as it was, unless somebody else has changed it since."""
    entry = run.before["files"][index]
    path = entry["path"]
    try:
        if sha256(read_bytes(path)) == entry["before"]:
            return
        if not ours(run, entry):
            told["left"].append(path + ": was changed by someone else after the run")
            return
        given = _given_since(run, entry) if entry["there"] else {}
        put_back(run, index, dict(entry, **given))
        if given:
            told["left"].append(GIVEN % path)
        if entry["after"] is not None:
            told["changed"].append("restore " + path)
    except (OSError, GuardError) as error:
        told["errors"].append("%s: cannot be restored: %s" % (path, error))


def undo_files(run: Run, before: Document, told: Report, but: int | None = None) -> None:
    """Put edited files back as they were, but for one that is to go back later."""
    for index, entry in enumerate(before["files"]):
        if index != but:
            undo_file(run, index, told)
        folder = os.path.dirname(entry["path"])
        sweep(folder, before["copies"].get(folder, []) if run.result is None else copies(folder))
    undo_directories(before)


def undo_directories(before: Document) -> None:
    """Remove the directories that the run made, as far as they are empty."""
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
            told["left"].append(GIVEN % path)
            continue
        try:
            if stat.S_ISLNK(os.lstat(path).st_mode):
                raise GuardError("is a link by now")
            os.chown(path, was["uid"], was["gid"], follow_symlinks=False)
            os.chmod(path, was["mode"])
            told["changed"].append("restore mode and owner of " + path)
        except (OSError, GuardError) as error:
            told["errors"].append("%s: mode and owner cannot be restored: %s" % (path, error))
