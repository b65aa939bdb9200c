"""Whether dockerd would start with a configuration, and containers with it: all that is wrong, and where.

A candidate is held against the table of options, then against what options do to one another and to the host. What is
not known of the host (a file that was not looked at) counts as right: a check refuses on evidence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from . import combinations, logs, start, values
from .options import FLAGS, FLAT, KEYS, Engine, engine
from .start import MASK, Start
from .values import Level, Problem

_ENDS: Final[Mapping[Level, str]] = {
    "read": "the daemon does not start with it",
    "start": "the daemon does not start with it",
    "run": "the daemon starts with it, and no container does",
}
MOST_FAULTS: Final = 50


class Host(NamedTuple):
    """What a check may know of the host: swarm mode, cgroup driver, log and storage driver in use, named files.

    `paths` says what stands at a path ("absent" where nothing does), `users` of userns-remap whether they are there
    and have ranges, `groups` whether they are there.
    """

    swarm: bool = False
    cgroups: str = ""
    log_driver: str = ""
    storage_driver: str = ""
    paths: Mapping[str, str] = {}
    users: Mapping[str, Mapping[str, bool]] = {}
    groups: Mapping[str, bool] = {}


class Candidate(NamedTuple):
    """A daemon.json (its path, text and document), the next start with the texts of its files, and the engine.

    `flags` are the keys that flags set, of the next start or, where that is not sure, of the running daemon too.
    """

    config: str
    text: str
    document: Mapping[str, Any]
    version: str
    begin: Start = Start()
    texts: Mapping[str, str] = {}
    flags: Mapping[str, Mapping[str, Any]] = {}
    host: Host = Host()
    exists: bool = True
    masked: bool = False

    def hidden(self, value: Any) -> bool:
        """Whether a value holds a secret that is masked, so that nothing can be said of it."""
        return self.masked and MASK in str(value)


class Fault(NamedTuple):
    """Why a candidate will not do: the keys concerned, the reason with its place, and when it shows.

    `own`: it lies in the configuration alone, so that a daemon which runs with it proves it wrong.
    """

    keys: tuple[str, ...]
    reason: str
    level: Level
    own: bool = False


def _members(document: Mapping[str, Any], generation: int) -> Iterator[tuple[str, Any]]:
    """The keys as dockerd counts them: of an object that is not a value the members stand for themselves."""
    for key, value in document.items():
        if isinstance(value, dict) and key not in FLAT and not (key == "default-network-opts" and generation >= 24):
            yield from value.items()
        else:
            yield key, value


def place(candidate: Candidate, key: str, own: bool = False) -> str:
    """Where a key stands: its flag, or daemon.json with the line; with `own` in daemon.json in any case."""
    if key in candidate.flags and not own:
        flag = candidate.flags[key]
        return f"{flag['flag']} in {flag.get('where') or 'the command line of the daemon'}"
    at = re.search(rf'"{re.escape(key)}"\s*:', candidate.text)
    return f"{candidate.config}:{candidate.text.count(chr(10), 0, at.start()) + 1}" if at else candidate.config


def _told(candidate: Candidate, key: str, found: Problem, own: bool = True) -> Fault:
    reason = f"{place(candidate, key, own)}: {key}: {found.text}: {_ENDS[found.level]}"
    return Fault((key,), reason, found.level, found.level != "run")


def _file(candidate: Candidate, known: Engine) -> Iterator[Fault]:
    generation = known.generation
    if generation < 23 and candidate.exists:
        if candidate.text.startswith("\ufeff"):
            told = f"{candidate.config}: begins with a byte order mark: {_ENDS['read']}"
            yield Fault((), told, "read", own=True)
        elif not candidate.text.strip() and not candidate.document:
            yield Fault((), f"{candidate.config}: is empty: the daemon does not start with it", "read", own=True)
    taken, switches = KEYS[generation], FLAGS[generation]
    for key, _ in _members(candidate.document, generation):
        if key not in taken and key not in switches and not known.newer:
            yield _told(candidate, key, Problem("read", "is no option of this engine"))
    for key, value in [*_earlier(candidate), *candidate.document.items()]:
        option = taken.get(key)
        if option is not None and not candidate.hidden(value):
            found = values.problem(option, value, generation)
            if found:
                yield _told(candidate, key, found)


def _earlier(candidate: Candidate) -> list[tuple[str, Any]]:
    """The values of keys that are given more than once, but for the last: dockerd reads their types all the same."""
    text = candidate.text.removeprefix("\ufeff")
    pairs: list[tuple[str, Any]] = []

    def gather(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = found  # the outermost object comes last
        return dict(found)

    try:
        json.loads(text or "{}", object_pairs_hook=gather)
    except ValueError:
        return []
    names = [key for key, _ in pairs]
    return [one for index, one in enumerate(pairs) if one[0] in names[index + 1 :]]


def unknown(candidate: Candidate) -> list[str]:
    """The keys that a newer engine than those of the table may know; nothing is said against them."""
    known = engine(candidate.version)
    taken, switches = KEYS[known.generation], FLAGS[known.generation]
    keys = [key for key, _ in _members(candidate.document, known.generation)]
    return [key for key in keys if known.newer and key not in taken and key not in switches]


def _both(candidate: Candidate, generation: int) -> Iterator[Fault]:
    in_file = dict(_members(candidate.document, generation))
    for key in candidate.flags:
        if key in in_file and key != "runtimes":
            told = f"{candidate.config} and {place(candidate, key)} both set {key}: the daemon does not start with both"
            yield Fault((key,), told, "read")
    if generation >= 28 and "host-gateway-ip" in in_file and "host-gateway-ips" in in_file:
        found = Problem("read", "does not go with host-gateway-ips")
        yield _told(candidate, "host-gateway-ip", found)


def _line(candidate: Candidate, generation: int) -> Iterator[Fault]:
    words, line = start.line(candidate.begin)
    if candidate.begin.unsure.startswith("words "):
        return
    for index in line.strange:
        word = words[index]
        if MASK not in word.text:
            where = start.where(word, candidate.texts) or "the command line of the daemon"
            yield Fault((), f"{where}: {word.text} is no flag of dockerd: the daemon does not start with it", "start")
    for one in line.occurrences:
        where = start.where(words[one.word], candidate.texts) or "the command line of the daemon"
        if not one.option.taken(generation) and one.option.flag not in FLAGS[generation]:
            told = f"{where}: {one.name} is no flag of this engine: the daemon does not start with it"
            yield Fault((one.option.key,), told, "start")
        elif MASK * 3 not in str(one.value) and (found := values.flag_problem(one.option, one.value, generation)):
            told = f"{where}: {one.name}: {found.text}: {_ENDS[found.level]}"
            yield Fault((one.option.key,), told, found.level)


def _effective(candidate: Candidate, generation: int) -> dict[str, Any]:
    """The values that count, as far as they are of the right type: of flags, else of the file."""
    found = {}
    for key, value in candidate.document.items():
        option = KEYS[generation].get(key)
        wrong = values.problem(option, value, generation) if option else None
        if option is not None and value is not None and not (wrong and wrong.level == "read"):
            found[key] = value
    for key, one in candidate.flags.items():
        found[key] = one["value"]
        if key == "runtimes" and isinstance(candidate.document.get(key), dict):  # these alone are put together
            found[key] = {**candidate.document[key], **one["value"]}
    return found


def check(candidate: Candidate) -> list[Fault]:
    """All faults of a candidate, those that a reload refuses first."""
    known = engine(candidate.version)
    generation = known.generation
    found = [*_file(candidate, known), *_both(candidate, generation), *_line(candidate, generation)]
    effective = _effective(candidate, generation)
    for keys, wrong in combinations.problems(effective, candidate.flags, generation, candidate.host):
        places = ", ".join(dict.fromkeys(place(candidate, key) for key in keys if key in effective))
        reason = f"{places or candidate.config}: {', '.join(keys)}: {wrong.text}: {_ENDS[wrong.level]}"
        found.append(Fault(keys, reason, wrong.level, wrong.level != "run" and not wrong.host))
    options = effective.get("log-opts", {})
    driver = str(effective.get("log-driver", ""))
    plugin = ":" in driver or "/" in driver or (driver and driver == candidate.host.log_driver)
    masked = any(candidate.hidden(one) for one in options.values())
    if not (plugin and not logs.built_in(driver, generation)) and not masked:
        wrong_log = logs.problem(driver, options, generation, known.newer)
        if wrong_log is not None:
            key, text = wrong_log
            blamed = _told(candidate, key if key in effective else "log-driver", text, own=False)
            found.append(Fault(("log-driver", "log-opts"), blamed.reason, blamed.level, blamed.own))
    return found[:MOST_FAULTS]
