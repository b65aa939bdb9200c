"""The moments of an apply, found in what an undisturbed one said: ansible's tasks, and the guard's journal."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.fleet import Fleet

STARTED = re.compile(r"\|\s+\[started TASK: (.*) on (\S+)\]")
TOLD = re.compile(r"\| (?:ok|changed|failed|fatal|skipping): \[([^\]]+)\]")


@dataclass(frozen=True, order=True)
class Moment:
    """Something that is said in an apply: by ansible (a task begins, or tells of a host), or by the guard's journal.

    `nth` counts those that are alike.
    """

    source: str
    what: str
    nth: int

    def __str__(self) -> str:
        return f"{self.source} {self.what}" + (f" #{self.nth}" if self.nth > 1 else "")


def of_ansible(text: str, host: str) -> Iterator[Moment]:
    """The moments in ansible's log that concern a host; the log has to tell of each host's start of a task."""
    seen: Counter[tuple[str, str]] = Counter()
    task = ""
    for line in text.splitlines():
        if (started := STARTED.search(line)) and started[2] == host:
            task = started[1]
            key = ("task begins", task)
        elif (told := TOLD.search(line)) and told[1] == host:
            key = ("task told", task)
        else:
            continue
        seen[key] += 1
        yield Moment(*key, seen[key])


def of_journal(text: str) -> Iterator[Moment]:
    """The moments in a guard's journal."""
    seen: Counter[str] = Counter()
    for line in text.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        what = f"{one['step']} {one['state']}"
        seen[what] += 1
        yield Moment("journal", what, seen[what])


class Passed:
    """The moments that the hosts of a fleet have passed in the round under way; read again only where more is said."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._texts: dict[Path, tuple[int, str]] = {}
        self._known: dict[str, tuple[tuple[int, ...], list[Moment]]] = {}

    def _text(self, path: Path) -> tuple[int, str]:
        try:
            size = path.stat().st_size
            if size != self._texts.get(path, (0, ""))[0]:
                self._texts[path] = size, path.read_text(errors="replace")
        except OSError:
            pass
        return self._texts.get(path, (0, ""))

    def of(self, host: str) -> list[Moment]:
        """The moments of one host, in the order of each source."""
        run = self._fleet.run_id()
        texts = [self._text(self._fleet.log)]
        texts += [self._text(self._fleet.journals(host) / run / "journal.jsonl")] if run else []
        sizes = tuple(size for size, _ in texts)
        if self._known.get(host, ((), []))[0] != sizes:
            found = list(of_ansible(texts[0][1], host))
            found += of_journal(texts[1][1]) if run else []
            self._known[host] = sizes, found
        return self._known[host][1]

    def last(self, host: str) -> tuple[Moment, ...]:
        """The moment that a host has passed last, in what ansible says and in its guard's journal."""
        moments = self.of(host)
        sources = ([one for one in moments if (one.source == "journal") is journal] for journal in (False, True))
        return tuple(some[-1] for some in sources if some)
