"""What the host itself is like: {data_root_mount: whether the data root is a file system of its own}."""

from __future__ import annotations

from typing import Any

from ..model import Fact
from .compare import judge
from .compare import nothing as render

__all__ = ["NEEDS", "facts", "judge", "render"]

NEEDS: dict[str, Any] = {"read": [], "stat": []}


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """The host as one document."""
    mounted = evidence["data_root_mount"]
    if mounted is None:
        return {"host": Fact({}, {}, "the data root is not there or cannot be looked at")}
    return {"host": Fact({"data_root_mount": mounted})}
