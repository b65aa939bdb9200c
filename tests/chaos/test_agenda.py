"""The order in which the fault campaign hits what it hits."""

from __future__ import annotations

from collections import Counter

from tests.chaos.agenda import TRIES, Agenda
from tests.chaos.moments import Moment
from tests.chaos.strikes import ALONE, EVERYWHERE, KINDS

MOMENTS = [Moment("journal", f"step {number}", 1) for number in range(10)]
HOSTS = {"one": "20.10", "two": "28.5", "three": "28.5"}


def campaign(agenda: Agenda, unhit: frozenset[Moment] = frozenset()) -> Counter[tuple[str, Moment]]:
    """Strike until the agenda has ended, where faults at some moments hit nothing; how often each was tried."""
    for generation in HOSTS.values():
        agenda.learn(generation, MOMENTS)
    tried: Counter[tuple[str, Moment]] = Counter()
    while not agenda.ended():
        for name, strike in agenda.more(HOSTS).items():
            tried[strike.kind, strike.moment] += 1
            if strike.moment not in unhit:
                agenda.hit(strike.kind, HOSTS[name], [strike.moment])
    return tried


def test_every_kind_hits_every_moment_before_one_comes_again() -> None:
    agenda = Agenda(seed=1, wanted=0, every_step=True)
    tried = campaign(agenda)
    assert set(tried) == {(kind, moment) for kind in KINDS for moment in MOMENTS}
    assert max(tried[kind, moment] for kind in EVERYWHERE for moment in MOMENTS) <= 2
    assert sum(tried.values()) < 1.5 * len(tried)
    assert agenda.missed() == []
    assert [agenda.steps(kind) for kind in KINDS] == ["10/10"] * len(KINDS)
    assert [agenda.steps_on(generation) for generation in ("20.10", "28.5")] == ["10/10"] * 2


def test_what_hits_nothing_is_tried_a_few_times_and_then_named() -> None:
    agenda = Agenda(seed=1, wanted=0, every_step=True)
    tried = campaign(agenda, frozenset(MOMENTS[:1]))
    assert {tried[kind, MOMENTS[0]] for kind in ALONE} <= {TRIES, TRIES + 1}
    assert agenda.missed() == [f"{kind} at journal step 0" for kind in KINDS]


def test_so_many_faults_are_enough_where_not_every_step_is_asked_for() -> None:
    agenda = Agenda(seed=1, wanted=7)
    campaign(agenda)
    assert 7 <= agenda.count < 7 + len(HOSTS)
