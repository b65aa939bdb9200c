"""A read-only root: what a container has written outside of its volumes and tmpfs."""

from __future__ import annotations

from ..model import Change
from .verdict import Verdict, breaks, ruled_out, some, unknown
from .view import View


def readonly(change: Change, view: View) -> Verdict:
    """What was written to the root since the container was created would fail."""
    own = view.containers[change.resource]
    written = own.live.get("written")
    if written is None:
        return unknown(f"what it writes: {own.live.get('unseen_written', own.unseen)}")
    if written:
        places = own.live.get("written_to", {})
        told = f"a tmpfs or volume at {some(places.get('bare') or written)} would take it"
        if filled := places.get("filled"):
            told = f"the image has files in {some(filled)}, which a tmpfs there would hide: it takes a volume"
        return breaks(f"it has written to {some(written)}", told=(told,))
    if not view.watched(own):
        return unknown(f"it has written nothing yet, but has run for {own.age:.0f} seconds only")
    return ruled_out(f"it has written nothing to its root {view.since(own)}")
