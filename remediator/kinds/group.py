"""Who is in the group that may speak to the engine: {members: [name]}."""

from __future__ import annotations

from typing import Any

from ..model import Fact
from .compare import judge
from .compare import nothing as render

__all__ = ["NEEDS", "facts", "judge", "render"]

NEEDS: dict[str, Any] = {"read": [], "stat": []}


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """The group docker, where there is one."""
    members = evidence["docker_group"]
    return {} if members is None else {"docker": Fact({"members": members})}
