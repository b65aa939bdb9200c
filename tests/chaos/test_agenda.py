"""The order in which the fault campaign hits what it hits."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.__main__ import summary
from tests.chaos.agenda import TRIES, Agenda
from tests.chaos.moments import Moment
from tests.chaos.strikes import ALONE, EVERYWHERE, KINDS
from tests.chaos.verdict import ASKED, Verdict, judge_resume

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


def test_a_strike_at_the_control_machine_is_a_fault_to_each_host_and_counted_once() -> None:
    both = [Verdict("control", "28.5", name, "", True, "first") for name in ("two", "three")]
    alone = Verdict("reboot", "20.10", "one", "", True, "second", problems=["lost: once"])
    assert summary([*both, alone], []) == "2 of 3 faults survived (2 strikes)"


TIME_OVER = "it was not confirmed within 20 seconds"
STALE = "the plan is stale: once has changed since it was made"


def survived(kind: str, resumed: str, state: str, reason: str, taken_back: bool = False) -> bool:
    """Whether a fault counts as survived after a resume, where `reason` is why the host went back last."""
    journal = f'{{"step": "undo", "state": "will", "reason": "{reason}"}}' if reason else ""
    verdict = Verdict(kind, "28.5", "one", "", True, state=state, resumed=resumed, journals={"1": journal})
    verdict.taken_back = taken_back
    judge_resume(verdict)
    return verdict.survived


@pytest.mark.parametrize(
    ("kind", "resumed", "state", "reason", "good"),
    [
        ("control", "done", "after", "", True),
        ("control", f"run 1 was taken back: {TIME_OVER}", "before", TIME_OVER, True),
        ("ansible", STALE, "before", TIME_OVER, True),
        ("ansible", STALE, "before", "", False),
        ("ansible", STALE, "before", ASKED, False),
        ("control", "docker stop: no. The run was taken back.", "before", "docker stop: no", False),
        ("control", f"run 1 is being taken back: {TIME_OVER}", "after", TIME_OVER, False),
        ("control", "unreachable", "before", TIME_OVER, False),
        ("network", "unreachable", "before", "", True),
    ],
)
def test_a_resume_is_refused_only_by_a_host_that_goes_back_by_itself(
    kind: str, resumed: str, state: str, reason: str, good: bool
) -> None:
    assert survived(kind, resumed, state, reason) is good


@pytest.mark.parametrize(
    ("state", "reason", "good"), [("before", ASKED, True), ("half", ASKED, False), ("before", "docker stop: no", False)]
)
def test_a_resume_may_be_refused_where_the_apply_took_back_what_its_ansible_left(
    state: str, reason: str, good: bool
) -> None:
    assert survived("ansible", STALE, state, reason, taken_back=True) is good
