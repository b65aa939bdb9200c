"""The files in which containers are defined: compose files, units and their drop-ins. Containers are what is judged."""

from __future__ import annotations

from typing import Any

from ..model import Fact
from .compare import judge
from .compare import nothing as render

__all__ = ["NEEDS", "facts", "judge", "render"]

NEEDS: dict[str, Any] = {"read": [], "stat": []}  # which files is said by containers' labels, and by units


def facts(evidence: dict[str, Any]) -> dict[str, Fact]:
    """Each file by its path, its masked text as evidence; also the drop-ins that are not there yet."""
    return {path: Fact({}, {"file": file}) for path, file in evidence.get("owners", {}).get("files", {}).items()}
