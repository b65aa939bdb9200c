"""The part of the probe that looks at a container's layers on disk: what it wrote, and its setuid programs.

Standard library only and Python 3.8, like the probe. The upper layer of the overlay holds what a container
wrote to its root since it was created, without what went to volumes and tmpfs; a directory in which a file
was made and removed again is in it as well. Asking the engine for the same (`docker diff`) costs it far more.
"""

from __future__ import annotations

import os
import stat
import time
from typing import Any

from .usage import text

_MOST_ENTRIES = 5000  # looked at in one layer
_MOST_PATHS = 200  # told of one container
_CAPABILITY = "security.capability"


class Deadline:
    """A time until which layers are walked; after it they are left, and that is said."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self._end


def folders(graph: dict[str, Any], pid: int) -> tuple[str, list[str]]:
    """The upper directory of a container's overlay and its lower ones; ("", []) where there are none to see."""
    data = graph.get("Data") or {}
    upper, lower = data.get("UpperDir", ""), data.get("LowerDir", "")
    if not upper and pid:
        for line in text("/proc/%d/mountinfo" % pid, 262144).splitlines():
            words = line.split(" ")
            if len(words) > 4 and words[4] == "/" and " - overlay " in line:
                options = dict(one.partition("=")[::2] for one in words[-1].split(","))
                upper, lower = options.get("upperdir", ""), options.get("lowerdir", "")
    if not upper.startswith("/") or not os.path.isdir(upper):
        return "", []
    return upper, [one for one in lower.split(":") if one.startswith("/")]


def _given(path: str, given: list[str]) -> bool:
    """Whether a path is one at which the engine mounts something, or lies below one."""
    return any(path == one or path.startswith(one + "/") for one in given)


def written(upper: str, lower: list[str], given: list[str], home: str, deadline: Deadline) -> list[str] | str:
    """The paths that a container wrote to its root: new directories whole, else files; or why it is not known.

    `given` are the paths at which the engine mounts something, for which it makes directories, as it does for
    `home`, the working directory.
    """
    found: list[str] = []
    waiting = [""]
    count = 0
    while waiting:
        here = waiting.pop()
        try:
            entries = sorted(os.scandir(upper + here), key=lambda one: one.name)
        except OSError as error:
            return "its layer cannot be read: %s" % (error.strerror or error)
        count += len(entries)
        if deadline.over or count > _MOST_ENTRIES:
            return "too much to look at in time"
        rest = [one for one in entries if not _given(here + "/" + one.name, given)]
        made = here == home and not any(os.path.isdir(layer + here) for layer in lower)
        if here and not rest and not made and not any(one.startswith(here + "/") for one in given):
            found.append(here)  # a directory of the image in which something was made and is gone
        for one in rest:
            path = here + "/" + one.name
            below = path == home or any(other.startswith(path + "/") for other in [*given, home])
            if not one.is_dir(follow_symlinks=False):
                found.append(path)
            elif below or any(os.path.isdir(layer + path) for layer in lower):
                waiting.append(path)
            else:
                found.append(path)
    shown = [one.encode("utf-8", "backslashreplace").decode() for one in sorted(found)]
    while len(shown) > _MOST_PATHS:
        depth = max(one.count("/") for one in shown)
        if depth < 2:
            return "it wrote to more than %d places" % _MOST_PATHS
        shown = sorted({one.rpartition("/")[0] if one.count("/") == depth else one for one in shown})
    return shown


def _filled(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entries)
    except OSError:
        return False


def places(paths: list[str], upper: str, lower: list[str]) -> dict[str, list[str]]:
    """The directories that take what was written, as {bare, filled}: those in which the image has files are filled.

    A tmpfs over a filled directory would hide what the image has there.
    """
    found: dict[str, list[str]] = {"bare": [], "filled": []}
    for path in paths:
        entry = os.path.isdir(upper + path) and not os.path.islink(upper + path)
        place = path if entry else path.rpartition("/")[0] or "/"
        filled = any(_filled(layer + place) for layer in lower)
        found["filled" if filled else "bare"].append(place)
    return {name: sorted(set(some)) for name, some in found.items()}


def _privileged(entry: os.DirEntry[str]) -> bool:
    mode = entry.stat(follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode) or not mode & 0o111:
        return False
    if mode & stat.S_ISUID or mode & (stat.S_ISGID | stat.S_IXGRP) == stat.S_ISGID | stat.S_IXGRP:
        return True
    try:
        return bool(os.getxattr(entry.path, _CAPABILITY, follow_symlinks=False))
    except OSError:
        return False


def setuid(layer: str, deadline: Deadline) -> list[str] | None:
    """The setuid and setgid programs of a layer, and those with file capabilities; None where time was short."""
    found: list[str] = []
    waiting = [""]
    while waiting:
        here = waiting.pop()
        if deadline.over:
            return None
        try:
            with os.scandir(layer + here) as entries:
                for entry in entries:
                    path = here + "/" + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif _privileged(entry):
                        found.append(path.encode("utf-8", "backslashreplace").decode())
        except OSError:
            return None
    return sorted(found)


class Layers:
    """Looks at the layers of containers within one time for all of them; a layer is looked at once."""

    def __init__(self, seconds: float) -> None:
        self._deadline = Deadline(seconds)
        self._programs: dict[str, list[str] | None] = {}

    def look(self, graph: dict[str, Any], pid: int, given: list[str], home: str) -> dict[str, Any]:
        """{written, written_to, setuid} of a container; {unseen_written, unseen_setuid: why} for what is not known.

        `home` is its working directory, which the engine makes where the image has none.
        """
        upper, lower = folders(graph, pid)
        if not upper:
            told = "its layers cannot be seen from outside"
            return {"unseen_written": told, "unseen_setuid": told}
        paths = written(upper, lower, given, home, self._deadline)
        found: dict[str, Any] = {"unseen_written": paths}
        if isinstance(paths, list):
            found = {"written": paths, "written_to": places(paths, upper, lower)}
        programs = self._setuid([upper, *lower])
        return {**found, **({"unseen_setuid": "not looked at in time"} if programs is None else {"setuid": programs})}

    def _setuid(self, layers: list[str]) -> list[str] | None:
        found: set[str] = set()
        for layer in layers:
            if layer not in self._programs:
                self._programs[layer] = setuid(layer, self._deadline)
            programs = self._programs[layer]
            if programs is None:
                return None
            found.update(programs)
        return sorted(found)[:_MOST_PATHS]
