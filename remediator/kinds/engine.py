"""What the engine says of itself: `docker info`, projected."""

from __future__ import annotations

from typing import Any

from ..baseline import Control
from ..model import ABSENT, Fact, Finding, Outcome
from ..patch import get
from . import compare
from .compare import Scope, finding
from .compare import nothing as render

__all__ = ["NEEDS", "facts", "judge", "render"]

NEEDS: dict[str, Any] = {"read": [], "stat": []}  # the engine's documents come always


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """The one engine of a host."""
    engine = evidence["engine"]
    return {"engine": Fact({}, {}, engine["error"]) if "error" in engine else Fact(engine["info"])}


def judge(control: Control, resource: str, fact: Fact, scope: Scope) -> Finding:
    """The generic diff; what this engine does not say (a worker, of its swarm) is not its to answer for."""
    if get(fact.document, control.path) is ABSENT:
        return finding(control, resource, Outcome.NOT_APPLICABLE, "this engine does not say: ask a swarm manager")
    return compare.judge(control, resource, fact, scope)
