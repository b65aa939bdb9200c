"""The fault campaign in short: some rounds of faults in two of its scenarios, and some bad configurations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import configs
from tests.chaos.__main__ import faults
from tests.chaos.agenda import Agenda
from tests.chaos.fleet import RELOAD_FIRST, STOP_FIRST
from tests.chaos.strikes import ALONE, EVERYWHERE
from tests.lab.lab import NEWEST_SETTLED
from tests.lab.recipe import GENERATIONS

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    ("kinds", "generations", "wanted"),
    [(ALONE, [*GENERATIONS, NEWEST_SETTLED], len(ALONE)), (EVERYWHERE, [NEWEST_SETTLED], len(EVERYWHERE))],
    ids=["hosts", "control"],
)
def test_faults_at_random_moments_are_survived(
    lab_machine: None, tmp_path: Path, kinds: tuple[str, ...], generations: list[str], wanted: int
) -> None:
    """Every host is wholly before or wholly after, its daemon runs, no container is lost, and a rollback finishes."""
    verdicts = faults(tmp_path / "faults", Agenda(7, wanted, kinds=kinds), generations, RELOAD_FIRST)
    assert len(verdicts) >= wanted
    assert [(one.kind, one.moment, one.problems) for one in verdicts if not one.survived] == []


def test_faults_around_stopped_containers_are_survived(lab_machine: None, tmp_path: Path) -> None:
    """The same, in one round on a host of each generation that stops its containers and starts them again."""
    verdicts = faults(tmp_path / "faults", Agenda(seed=7, wanted=1), list(GENERATIONS), STOP_FIRST)
    assert verdicts
    assert [(one.kind, one.moment, one.problems) for one in verdicts if not one.survived] == []


def test_bad_configurations_do_no_harm(lab_machine: None, tmp_path: Path) -> None:
    """They are refused with a reason, or taken back; the daemon serves as before."""
    outcomes = configs.run(tmp_path / "configs", 6, list(GENERATIONS))
    assert len(outcomes) == 6
    assert [(one.name, one.said, one.problems) for one in outcomes if not one.survived] == []
