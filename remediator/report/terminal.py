"""Writing to a terminal: colour where there is one, host data made harmless, values on one line."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO

from ..model import ABSENT, Finding, Value

_COLOURS = {
    "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36", "bold": "1", "dim": "2",
}  # fmt: skip
_SIZES = {"Memory", "MemorySwap"}


def clean(text: str) -> str:
    """Text of a host with what a terminal would obey made visible."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class Writer:
    """Lines to a stream, with colour where it is a terminal."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colour = self._stream.isatty()

    def paint(self, text: str, *styles: str) -> str:
        if not self._colour or not styles:
            return text
        return f"\x1b[{';'.join(_COLOURS[one] for one in styles)}m{text}\x1b[0m"

    def line(self, text: str = "", *styles: str) -> None:
        self._stream.write(self.paint(clean(text), *styles) + "\n")

    def parts(self, *parts: tuple[str, str] | str) -> None:
        """One line of parts, each a text or (text, style)."""
        painted = [clean(one) if isinstance(one, str) else self.paint(clean(one[0]), one[1]) for one in parts]
        self._stream.write("".join(painted) + "\n")


def size(number: int) -> str:
    """Bytes as a person reads them: exact multiples of MiB or GiB, else bytes."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB")):
        if number and number % unit == 0:
            return f"{number // unit} {name}"
    return f"{number} bytes"


def value(one: Value, path: str = "") -> str:
    """A value on one line."""
    import json

    if one is ABSENT:
        return "(not set)"
    if path.rpartition("/")[2] in _SIZES and isinstance(one, int):
        return "unlimited" if one <= 0 else size(one)
    if path.endswith("/PidsLimit") and one in (None, 0, -1):
        return "unlimited"
    if path.endswith("/RestartPolicy") and isinstance(one, dict):
        retries = f":{one['MaximumRetryCount']}" if one.get("MaximumRetryCount") else ""
        return f"{one.get('Name') or 'no'}{retries}"
    return json.dumps(one, ensure_ascii=False)


def owned(findings: Iterable[Finding]) -> str:
    """The resources of findings; containers of the same owner together, with the owner behind them."""
    groups: dict[str, list[str]] = {}
    for one in findings:
        groups.setdefault(one.owner.label if one.owner else "", []).append(one.resource)
    return "; ".join(f"{', '.join(some)}{f' ({label})' if label else ''}" for label, some in groups.items())


def counted(many: int, noun: str) -> str:
    return f"{many} {noun}{'' if many == 1 else 's'}"


def pointer(kind: str, path: str) -> str:
    """A path inside a resource as a person reads it: the watched file itself where the resource is audit rules."""
    return path.removeprefix("/watches/").replace("~1", "/").replace("~0", "~") if kind == "audit_rule" else path
