"""(receipts, state) -> drift: what is no longer as runs left it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..apply.receipts import Receipt
from ..expect import same
from ..model import ABSENT, HostId, HostState, Json, Model, Value
from ..patch import escape


class Drifted(Model, frozen=True):
    """One value that a run left so and that is now otherwise; null with a false flag where it is not set."""

    run: str
    kind: str
    resource: str
    path: str
    left: Json = None
    now: Json = None
    had: bool = True
    has: bool = True
    gone: bool = False


def _differences(left: Value, now: Value, path: str = "") -> Iterable[tuple[str, Value, Value]]:
    if isinstance(left, dict) and isinstance(now, dict):
        for key in [*left, *(key for key in now if key not in left)]:
            yield from _differences(left.get(key, ABSENT), now.get(key, ABSENT), f"{path}/{escape(key)}")
    elif not same(left, now):
        yield path, left, now


def known(receipts: Iterable[Receipt], host: HostId) -> dict[tuple[str, str], tuple[str, Any]]:
    """A host's documents as the newest run that touched them left them: {(kind, resource): (run, document)}."""
    found: dict[tuple[str, str], tuple[str, Any]] = {}
    for receipt in receipts:
        for one in receipt.hosts:
            if (one.host.machine_id, one.host.root) != (host.machine_id, host.root):
                continue
            for kind, resources in one.documents.items():
                for resource, document in resources.items():
                    found[kind, resource] = (receipt.run, document)
    return found


def compare(receipts: Iterable[Receipt], state: HostState) -> list[Drifted]:
    """What drifted, by kind and resource. What is unknown now is not taken for drift."""
    found = []
    for (kind, resource), (run, document) in sorted(known(receipts, state.host).items()):
        facts = state.facts.get(kind, {})
        if "*" in facts or (resource in facts and facts[resource].unknown):
            continue
        if resource not in facts:
            found.append(Drifted(run, kind, resource, "", gone=True))
            continue
        for path, left, now in _differences(document, facts[resource].document):
            found.append(
                Drifted(
                    run,
                    kind,
                    resource,
                    path,
                    None if left is ABSENT else left,
                    None if now is ABSENT else now,
                    left is not ABSENT,
                    now is not ABSENT,
                )
            )
    return found
