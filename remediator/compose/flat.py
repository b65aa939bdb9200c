"""A service with its layers merged as compose merges them: what patches are compared by."""

from __future__ import annotations

from typing import Any, Final

from . import nodes
from .project import Service


def flat(service: Service) -> dict[str, Any]:
    """A service as plain data, its layers merged as compose merges them; variables as they are written."""
    result: dict[str, Any] = {}
    for layer in service.layers:
        result = _merged(result, nodes.plain(layer.node) or {}, ())
    return result


_REPLACED: Final = (("command",), ("entrypoint",), ("healthcheck", "test"))


def _merged(below: Any, above: Any, path: tuple[str, ...]) -> Any:
    """compose-go: override/merge.go; lists add up, mappings go key by key, null changes nothing."""
    if above is None or path in _REPLACED:
        return below if above is None else above
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            **below,
            **{key: _merged(below[key], one, (*path, key)) if key in below else one for key, one in above.items()},
        }
    if isinstance(below, list) and isinstance(above, list):
        return below + above
    return above
