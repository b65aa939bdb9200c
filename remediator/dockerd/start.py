"""The command line with which dockerd starts next: of its unit and drop-ins, or init script, and option files.

Every word knows where it is written, so that a flag can be named by file and line, and changed in place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from . import flags
from .options import ANY_FLAG

MASK: Final = "*"
OPTION_FILES: Final = ("/etc/default/docker", "/etc/sysconfig/docker")
INIT_SCRIPT: Final = "/etc/init.d/docker"
_SCRIPT_VARIABLES: Final = ("DOCKER_OPTS", "OPTIONS", "other_args")
_CONTINUED: Final = re.compile(r"\\\r?\n(?:[ \t]*[#;][^\n]*\n)*")  # systemd: comments between continued lines count not
_DIRECTIVE: Final = re.compile(
    r"^[ \t]*(?:\[(?P<section>[^\]\n]*)\][^\n]*|[#;][^\n]*|"
    r"(?P<name>\w+)[ \t]*=(?P<value>(?:\\\r?\n(?:[ \t]*[#;][^\n]*\n)*|[^\n])*))$",
    re.MULTILINE,
)
_ASSIGNED: Final = re.compile(
    r"^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)=(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|(?:\\\r?\n|[^\n])*)",
    re.MULTILINE | re.DOTALL,
)
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


class Word(NamedTuple):
    """A word, and where it is written: text[start:end] of the file at `path` is it, without the quotes around it.

    `plain`: it is written as it is, so that it can be written anew. [first, last) holds its quotes too.
    """

    text: str
    path: str = ""
    start: int = 0
    end: int = 0
    first: int = 0
    last: int = 0
    plain: bool = True


class Start(NamedTuple):
    """The next start: the words, the files that they come from, and why they are not known for sure ("": they are)."""

    words: tuple[Word, ...] = ()
    files: tuple[str, ...] = ()
    unsure: str = ""
    unused: tuple[str, ...] = ()


def _words(path: str, text: str, start: int, end: int) -> Iterator[Word]:
    """The words of a stretch of text, split at white space and continued lines, quotes taken off."""
    at = start
    while at < end:
        if text[at] in " \t\r\n":
            at += 1
            continue
        if (continued := _CONTINUED.match(text, at, end)) and continued.end() > at:
            at = continued.end()
            continue
        first, quote, read = at, "", []
        while at < end:
            here = text[at]
            if not quote and (here in " \t\r\n" or _CONTINUED.match(text, at, end)):
                break
            if here == "\\" and quote != "'" and at + 1 < end:
                read.append(text[at + 1])
                at += 2
                continue
            if here == quote:
                quote = ""
            elif not quote and here in "\"'":
                quote = here
            else:
                read.append(here)
            at += 1
        written, word = text[first:at], "".join(read)
        quoted = len(written) > 1 and written[0] in "\"'" and written[1:-1] == word and written[0] == written[-1]
        inner = (first + 1, at - 1) if quoted else (first, at)
        yield Word(word, path, *inner, first, at, quoted or written == word)


def _stretch(match: re.Match[str]) -> tuple[int, int]:
    """Where the value of an assignment stands, without quotes around all of it."""
    start, end = match.span("value")
    value = match["value"]
    if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0]:
        return start + 1, end - 1
    return start, end


def _expanded(word: Word, known: Mapping[str, list[Word]]) -> list[Word]:
    """A word with its variables: one of them alone becomes the words of its value."""
    if "$" not in word.text:
        return [word]
    whole = _VARIABLE.fullmatch(word.text)
    if whole and word.plain:
        return list(known.get(whole[1] or whole[2], []))

    def value(match: re.Match[str]) -> str:
        return " ".join(one.text for one in known.get(match[1] or match[2], []))

    return [word._replace(text=_VARIABLE.sub(value, word.text).replace("$$", "$"), plain=False)]


def _option_file(path: str, text: str, expand: bool) -> dict[str, list[Word]]:
    """The variables that a file of assignments sets, as words; a shell puts in the value of those before."""
    known: dict[str, list[Word]] = {}
    for match in _ASSIGNED.finditer(text):
        words = list(_words(path, text, *_stretch(match)))
        known[match["name"]] = [new for one in words for new in _expanded(one, known)] if expand else words
    return known


class _Unit(NamedTuple):
    starts: list[tuple[str, int, int]]
    environment: dict[str, list[Word]]
    option_files: list[str]


def _directives(units: Iterable[str], texts: Mapping[str, str]) -> _Unit:
    unit = _Unit([], {}, [])
    for path in units:
        text, section = texts.get(path, ""), ""
        for match in _DIRECTIVE.finditer(text):
            if match["section"] is not None:
                section = match["section"]
            if match["name"] is None or section != "Service":
                continue
            name, blank = match["name"], not match["value"].strip()
            if name == "ExecStart":
                unit.starts.clear() if blank else unit.starts.append((path, *match.span("value")))
            elif name == "EnvironmentFile":
                unit.option_files.clear() if blank else unit.option_files.append(match["value"].strip().lstrip("-"))
            elif name == "Environment":
                if blank:
                    unit.environment.clear()
                for word in _words(path, text, *match.span("value")):
                    key, _, value = word.text.partition("=")
                    inner = word.start + len(key) + 1
                    spread = _words(path, text, inner, word.end) if word.plain else [word._replace(text=value)]
                    unit.environment[key] = [one._replace(plain=one.plain and word.plain) for one in spread]
    return unit


def option_files(units: list[str], texts: Mapping[str, str]) -> list[str]:
    """The option files that a unit and its drop-ins name."""
    return _directives(units, texts).option_files


@lru_cache(maxsize=64)  # it is asked for several times a host, and the hosts of a fleet share their units
def _of_unit(units: tuple[str, ...], files: tuple[tuple[str, str], ...]) -> Start:
    """The next start by systemd, of the texts of files."""
    texts = dict(files)
    unit = _directives(units, texts)
    if len(unit.starts) != 1:
        told = "the unit has no ExecStart" if not unit.starts else "the unit has more than one ExecStart"
        return Start(unsure=told)
    known = dict(unit.environment)
    for path in unit.option_files:
        known.update(_option_file(path, texts.get(path, ""), expand=False))
    path, start, end = unit.starts[0]
    written = list(_words(path, texts[path], start, end))
    used = {name for one in written for pair in _VARIABLE.findall(one.text) for name in pair}
    words = [new for one in written for new in _expanded(one, known)]
    program = words[0].text.lstrip("@-:+!").rpartition("/")[2] if words else ""
    unsure = ""
    if program != "dockerd":
        unsure = f"the unit starts {program or 'nothing'}, which is not dockerd"
    elif any(one.text and not one.text.strip(MASK) for one in words):
        unsure = "words of the command line are masked"
    sources = tuple(dict.fromkeys([*units, *unit.option_files]))
    return Start(tuple(words), sources, unsure, _unused(texts, set(unit.option_files), used, "the unit"))


def of_script(script: str, texts: Mapping[str, str]) -> Start:
    """What the option file of an init script adds to dockerd's command line; the script's own words are not read."""
    read = [path for path in OPTION_FILES if path in script or re.search(r"/etc/(default|sysconfig)/\$", script)]
    used = {name for name in _SCRIPT_VARIABLES if re.search(rf"\$\{{?{name}\b", script)}
    words: list[Word] = []
    for path in read:
        known = _option_file(path, texts.get(path, ""), expand=True)
        words += [one for name in _SCRIPT_VARIABLES if name in used for one in known.get(name, [])]
    unused = _unused(texts, set(read), used, "the init script")
    return Start(tuple(words), tuple(read), "the init script's own words are not known", unused)


def _unused(texts: Mapping[str, str], read: set[str], used: set[str], reader: str) -> tuple[str, ...]:
    """What option files say to nobody: flags in a file, or a variable, that is not read."""
    found = []
    for path in OPTION_FILES:
        for name, words in _option_file(path, texts.get(path, ""), expand=False).items():
            flag = next((one for one in words if one.text[2:].partition("=")[0] in ANY_FLAG), None)
            if flag is not None and (path not in read or name not in used):
                place = where(flag, texts)
                found.append(f"{place}: {name} has flags of dockerd, and {reader} does not use it: they do nothing")
    return tuple(found)


def where(word: Word, texts: Mapping[str, str]) -> str:
    """Where a word is written, as "file:line"; "" where that is not known."""
    return f"{word.path}:{texts.get(word.path, '').count(chr(10), 0, word.start) + 1}" if word.path else ""


def line(start: Start) -> tuple[tuple[Word, ...], flags.Line]:
    """The words after the program's name, and what they are."""
    words = start.words[1:] if not start.unsure or start.unsure.startswith("words ") else start.words
    return words, flags.read([one.text for one in words])


def next_start(evidence: Mapping[str, Any]) -> Start:
    """The next start, of {init, units, script, files: {path: {text}}}."""
    texts = {path: str(one.get("text", "")) for path, one in evidence["files"].items()}
    if evidence["units"] and (evidence["init"] == "systemd" or not evidence["script"]):
        return _of_unit(tuple(evidence["units"]), tuple(texts.items()))
    if evidence["script"]:
        return of_script(evidence["script"], texts)
    return Start(unsure="neither a unit nor an init script of docker is known")
