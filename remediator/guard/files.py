"""Files as the guard reads and writes them: whole or not at all, no link followed."""

from __future__ import annotations

import base64
import errno
import grp
import hashlib
import json
import os
import pwd
import re
import stat
import tempfile
from typing import Any

Document = Any
Report = Any  # {"changed": [...], "left": [...], "errors": [...]}
TEMPORARY = ".guard-"  # how the names of files begin that are being written
COPY = re.compile(r"tmp[a-z0-9_]{8}")  # ansible names its copies so


class GuardError(Exception):
    """What went wrong, for the person who reads it."""


def sync(path: str) -> None:
    """See to it that a file or directory is on disk, so that it is still there after the power was cut."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return  # there is none by now
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # a file system that cannot
    finally:
        os.close(descriptor)


def write_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file of the guard's own, whole or not at all, and on disk when this returns."""
    put_file(path, data, {"mode": mode, "uid": os.geteuid(), "gid": os.getegid()})


def put_file(path: str, data: bytes, like: dict[str, Any], mtime: int | None = None) -> None:
    """Put a file of the host in its place, whole or not at all, with mode, owner and extended attributes `like`.

    mtime: nanoseconds since the epoch; without it the time is now.
    """
    descriptor, name = tempfile.mkstemp(dir=os.path.dirname(path), prefix=TEMPORARY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if (like["uid"], like["gid"]) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, like["uid"], like["gid"])
            os.fchmod(descriptor, like["mode"])
            for key, value in like.get("xattrs", {}).items():
                try:
                    os.setxattr(descriptor, key, base64.b64decode(value))
                except OSError:
                    continue  # such as a label that the file system itself gives
            if mtime is not None:
                os.utime(descriptor, ns=(mtime, mtime))
            os.fsync(descriptor)
        os.rename(name, path)
        sync(os.path.dirname(path))
    except BaseException as error:
        if os.path.lexists(name):
            os.unlink(name)
        if isinstance(error, OSError):
            error.filename = path  # a write tells none
        raise


def copies(directory: str) -> list[str]:
    """The names of files that may be copies under way: ansible's copy calls them so, and leaves them when it fails."""
    try:
        with os.scandir(directory) as found:
            return sorted(one.name for one in found if COPY.fullmatch(one.name) and one.is_file(follow_symlinks=False))
    except OSError:
        return []


def sweep(directory: str, known: list[str]) -> None:
    """Remove what was not written to its end by a guard that was killed, or by a copy; only for who holds the lock.

    `known` are copies of others: that were there before or, where the run has ended, all.
    """
    try:
        left = [name for name in os.listdir(directory) if name.startswith(TEMPORARY)]
        for name in [*left, *(one for one in copies(directory) if one not in known)]:
            os.unlink(os.path.join(directory, name))
    except OSError:
        pass  # nothing is harmed by it


def missing(directory: str) -> list[str]:
    """The directories that would have to be made for one to be there."""
    found = []
    while not os.path.isdir(directory):
        found.append(directory)
        directory = os.path.dirname(directory)
    return found


def read_json(path: str) -> Document:
    """The document in a file; None where there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def read_bytes(path: str) -> bytes | None:
    """The bytes of a regular file, None where there is none; raises GuardError for anything else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else (error.strerror or str(error)).lower()
        raise GuardError(path + ": " + reason) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise GuardError(path + ": is no file")
        return file.read()


def sha256(data: bytes | None) -> str:
    """The SHA-256 of bytes; "" for none."""
    return "" if data is None else hashlib.sha256(data).hexdigest()


def join(pieces: list[Any], text: str) -> str:
    """The text that pieces make: strings, and [start, end] slices of another text."""
    return "".join(one if isinstance(one, str) else text[one[0] : one[1]] for one in pieces)


def attributes(path: str) -> dict[str, Any] | None:
    """Mode, owner, time and extended attributes of what stands at a path; None where nothing does."""
    try:
        info = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found: dict[str, Any] = {
        "mode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
        "mtime": info.st_mtime_ns,
        "xattrs": {},
    }
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            value = os.getxattr(path, name, follow_symlinks=False)
            found["xattrs"][name] = base64.b64encode(value).decode("ascii")
    except OSError:
        pass  # a file system without them
    return found


def owner_ids(owner: str) -> tuple[int, int]:
    """The numbers of "user:group"; -1 for one that is not given or not known."""
    user, _, group = owner.partition(":")
    try:
        uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid if user else -1
        gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        return -1, -1
    return uid, gid


def same_attributes(now: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Whether mode and owner are the wanted ones; {mode: octal digits or "", owner: "user:group" or ""}."""
    if now is None:
        return True
    uid, gid = owner_ids(wanted["owner"])
    mode = int(wanted["mode"], 8) if wanted["mode"] else now["mode"]
    return (mode, uid if uid >= 0 else now["uid"], gid if gid >= 0 else now["gid"]) == (
        now["mode"],
        now["uid"],
        now["gid"],
    )
