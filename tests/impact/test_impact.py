"""A few scenarios, each predicted and then made real, and the arithmetic of the summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.impact.__main__ import agrees, summary
from tests.impact.prove import Proof, prove
from tests.impact.scenario import load, spread

pytest_plugins = ["tests.lab.fixtures"]

QUICK = 13


def proof(said: str, works: bool, error: str = "") -> Proof:
    """A proof of which only the outcome counts."""
    return Proof("one", "docker-icc", "26.1", said, works, "", error)


@pytest.mark.lab
def test_what_breaks_was_foretold(lab_machine: None, tmp_path: Path) -> None:
    """Nothing breaks without notice, and what was said to break does, on one host with the quick scenarios."""
    chosen = tuple(one for one in load() if one.quick)[:QUICK]
    proofs = prove(spread(chosen, ("26.1",)), tmp_path)
    assert [one for one in proofs if not agrees(one)] == []
    assert {"breaks", "safe"} <= {one.said for one in proofs}


def test_there_are_enough_scenarios() -> None:
    """At least forty, of all that a change can break, and each on a generation that exists."""
    assert len(load()) >= 40
    assert len({one.control for one in load()}) >= 15


@pytest.mark.parametrize(
    ("proofs", "met"),
    [
        ([proof("breaks", False), proof("safe", True), proof("unknown", True)], True),
        ([proof("breaks", False), proof("safe", False)], False),
        ([proof("breaks", False), proof("unknown", False)], False),
        ([proof("breaks", False)] * 19 + [proof("breaks", True)], True),
        ([proof("breaks", False)] * 18 + [proof("breaks", True)], False),
        ([proof("breaks", False), proof("", False, "did not start")], False),
        ([], False),
    ],
)
def test_the_targets(proofs: list[Proof], met: bool) -> None:
    """All breaks foretold, at most one alarm of twenty for nothing, and no scenario left out."""
    assert summary(proofs)[1] is met
