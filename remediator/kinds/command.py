"""The daemon's command line as evidence: which keys flags set, where they stand, and what the next start makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..dockerd import edit, flags, start
from ..dockerd.start import INIT_SCRIPT, OPTION_FILES, Start
from ..edited import EditedText, file_edit
from ..errors import InputError
from ..expect import same
from ..model import FileEdit, Value

_KEPT: Final = ("type", "text", "sha256", "masked", "changed", "target")
_MOST_EDITS: Final = 1000  # words of one command line


def evidence(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a fact of the daemon keeps of its command line: start, flags, awaits, proven, unused.

    `start` are the files that make the next one. `flags` are by key: {flag, value, where: "file:line" or "", held: why
    it is not edited, or ""}. `awaits` are keys that the running daemon's command line sets otherwise than the next one;
    `proven`: the daemon was started with its very words. `unused` tells of flags that nothing reads.
    """
    files, units = found["files"], found["units"]["docker.service"]
    texts = {path: str(files.get(path, {}).get("text", "")) for path in units}
    named = [*units, *OPTION_FILES, *start.option_files(units, texts)]
    script = str(files.get(INIT_SCRIPT, {}).get("text", "")) if found["about"].get("init") != "systemd" else ""
    by_hand = bool(found["daemon"]) and found["about"].get("init") != "systemd" and not script
    begun: dict[str, Any] = {
        "init": found["about"].get("init", ""),
        "units": [] if by_hand else list(units),
        "script": "\n".join(one for one in script.splitlines() if one.strip("* \t")),
        "files": {
            path: {key: files[path][key] for key in _KEPT if key in files[path]}
            for path in dict.fromkeys(named)
            if files.get(path, {}).get("type", "absent") != "absent"
        },
    }
    begin = start.next_start(begun)
    running = flags.parse(found["daemon"]["argv"]) if found["daemon"] else None
    given = _flags(begin, running, begun)
    awaits = []
    if running is not None and (not begin.unsure or begun["script"]):
        awaits = [key for key in sorted({*running, *given}) if not _same(running.get(key), given.get(key))]
    kept: dict[str, Any] = {"start": begun, "flags": given, "awaits": awaits}
    if found["daemon"]:
        argv = found["daemon"]["argv"]
        kept["proven"] = [one.text for one in begin.words[1:]] == argv[1:]
        if begin.unsure:
            begun["argv"] = argv
    return {**kept, "unused": list(begin.unused)} if begin.unused else kept


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    return one is other or (one is not None and other is not None and same(one["value"], other["value"]))


def _flags(begin: Start, running: dict[str, dict[str, Any]] | None, begun: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of the next start; where that is not sure those of the running daemon come first, or are added."""
    words, line = start.line(begin)
    texts = {path: str(one.get("text", "")) for path, one in begun["files"].items()}
    known: dict[str, dict[str, Any]] = {}
    for key, one in flags.values(line.occurrences).items():
        last = [occurrence for occurrence in line.occurrences if occurrence.option.key == key][-1]
        place = words[last.word]
        held = _held(one["flag"], start.where(place, texts), place.path, begun)
        if begin.unsure and not begun["script"] and not held:
            held = f"{one['flag']} in {start.where(place, texts)} sets this key, but {begin.unsure}: change it by hand"
        known[key] = {**one, "where": start.where(place, texts), "held": held}
    if running is None or not begin.unsure:
        return known
    loose = {
        key: {**one, "where": "", "held": f"{one['flag']} on the daemon's command line sets this key, and no file is "
              "known that it comes from: change it where the daemon is started"}
        for key, one in running.items()
    }  # fmt: skip
    if begun["script"]:
        return {**loose, **known}
    return {**known, **{key: {**one, **_place(known.get(key))} for key, one in loose.items()}}


def _place(known: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: known[name] for name in ("where", "held")} if known else {}


def _held(flag: str, where: str, path: str, begun: Mapping[str, Any]) -> str:
    """Why a flag is not edited where it stands; "" where it is."""
    file = begun["files"].get(path, {})
    if not path.startswith("/etc/"):
        return (
            f"{flag} in {where} sets this key, and that file belongs to the package: "
            "give docker.service a drop-in with an ExecStart of its own"
        )
    if file.get("type") != "file":
        return f"{flag} in {where} sets this key, and that file is a {file.get('type')} to {file.get('target', '?')}"
    return ""


def edited_texts(begun: Mapping[str, Any], wanted: Mapping[str, Value]) -> dict[str, EditedText]:
    """The files of the next start with the flags of keys set to values (ABSENT: taken away), as far as they change.

    Raises InputError where a flag cannot be written anew.
    """
    edited = {path: EditedText(str(one.get("text", ""))) for path, one in begun["files"].items()}
    for key, value in wanted.items():
        for _ in range(_MOST_EDITS):
            now = {path: one.text for path, one in edited.items()}
            splice = edit.next_splice(start.next_start(with_texts(begun, now)), now, key, value)
            if splice is None:
                break
            edited[splice.path].replace(splice.start, splice.end, splice.new)
        else:
            raise InputError(f"the flags of {key} cannot be brought to its value: change them by hand")
    return {path: one for path, one in edited.items() if one.text != begun["files"][path].get("text", "")}


def with_texts(begun: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The files of a start with other texts."""
    files = {path: {**one, "text": texts.get(path, one.get("text", ""))} for path, one in begun["files"].items()}
    return {**begun, "files": files}


def edits(begun: Mapping[str, Any], wanted: Mapping[str, Value]) -> list[FileEdit]:
    """The edits of the files in which the flags of keys stand."""
    made = [file_edit(path, begun["files"][path], one) for path, one in sorted(edited_texts(begun, wanted).items())]
    return [one for one in made if one is not None]
