"""One limit for all containers that a service creates alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from ..model import Change, Finding

_SHARING: Final = ("compose", "swarm")  # the owners of whose services several containers may be


def level(chosen: Iterable[Finding]) -> list[Finding]:
    """The findings with one limit for all containers of a service: the largest of those derived of their use."""
    chosen = list(chosen)
    if not any(found.owner and found.owner.kind in _SHARING for found in chosen):
        return chosen
    most: dict[tuple[str, str, str], int] = {}
    for found in chosen:
        for one in found.changes:
            if (key := _shared(found, one)) is not None:
                most[key] = max(one.after, most.get(key, one.after))

    def leveled(found: Finding, one: Change) -> Change:
        key = _shared(found, one)
        return one if key is None else msgspec.structs.replace(one, after=most[key])

    return [msgspec.structs.replace(one, changes=tuple(leveled(one, each) for each in one.changes)) for one in chosen]


def _shared(found: Finding, change: Change) -> tuple[str, str, str] | None:
    """What a number is the same for: a path of a service that may have several containers."""
    who = found.owner
    if who is None or who.kind not in _SHARING or type(change.after) is not int:
        return None
    return who.kind, who.name, change.path
