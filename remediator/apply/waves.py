"""In which order many hosts are changed: in waves, swarm managers one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from ..errors import InputError
from ..plan.model import HostPlan

DEFAULT: Final = "1,25%,100%"


def parse(spec: str, total: int) -> list[int]:
    """How many hosts are done after each wave: "1,10%,100%" of `total`, growing, ending with all.

    Raises InputError for what is no such list.
    """
    ends: list[int] = []
    for word in spec.split(","):
        digits = word.strip().removesuffix("%")
        if not digits.isdigit() or not int(digits):
            raise InputError(
                f"--waves {spec}: '{word}' is neither a number of hosts nor a percentage", "such as 1,10%,100%"
            )
        percent = word.strip().endswith("%")
        if percent and int(digits) > 100:
            raise InputError(f"--waves {spec}: '{word}' is more than all hosts", "such as 1,10%,100%")
        end = math.ceil(total * int(digits) / 100) if percent else int(digits)
        ends.append(min(max(end, ends[-1] if ends else 0), total))
    return [*ends, total]


def split(hosts: Iterable[HostPlan], spec: str) -> list[list[str]]:
    """The names of hosts by waves; a wave has one swarm manager at most, the others follow one by one."""
    named = {one.host.name: one for one in hosts}
    names = list(named)
    waves: list[list[str]] = []
    start = 0
    for end in parse(spec, len(names)):
        if end > start:
            waves += one_manager(names[start:end], named)
        start = max(start, end)
    return waves


def one_manager(names: Sequence[str], named: dict[str, HostPlan]) -> list[list[str]]:
    """The names in waves that have one swarm manager at most each."""
    managers = [name for name in names if named[name].manager]
    first = [name for name in names if name not in managers[1:]]
    return [first, *([name] for name in managers[1:])]
