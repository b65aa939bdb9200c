"""What the guard's proof, and the fresh look after it, take for a success."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import msgspec
import pytest

from remediator.apply import verify
from remediator.guard import proof
from remediator.guard.engine import Engine, pause
from remediator.kinds import daemon
from remediator.model import Disruption, HostState, Safety
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host
from tests.unit.host import baseline, engine, state

REQUEST: Final[dict[str, Any]] = {"proof": 0.1, "recreates": []}
SINCE: Final = "2026-01-01T00:00:00Z"


def container(restarts: int = 0, pid: int = 10, started: str = SINCE, paused: bool = False) -> dict[str, Any]:
    """The engine's document about a container that runs."""
    doing = {"Running": True, "Pid": pid, "StartedAt": started, "Status": "running", "ExitCode": 0, "Paused": paused}
    return {"Id": "i", "Name": "/a", "RestartCount": restarts, "State": doing, "Config": {}, "HostConfig": {}}


class Scripted(Engine):
    """An engine with one container, which is another at each look until the last one given."""

    def __init__(self, *looks: dict[str, Any], info: dict[str, Any] | None = None) -> None:
        self.looks, self.known = list(looks), info or {}
        self.seen = 0
        self.done: list[tuple[str, ...]] = []

    def info(self, timeout: float = 10.0) -> dict[str, Any]:  # noqa: ARG002 - as the guard calls it
        return self.known

    def bridge(self) -> dict[str, Any]:
        return {}

    def containers(self, identities: list[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        self.seen += 1
        return {"a": self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]}

    def docker(self, *words: str, timeout: float = 60.0) -> tuple[int, str, str]:  # noqa: ARG002
        self.done.append(words)
        return 0, "", ""


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)


def before(one: dict[str, Any]) -> dict[str, Any]:
    """What the guard keeps of a container before a run."""
    return {"containers": proof.portrait(Scripted(one))}


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (0, container(), []),
        (0, container(1, 11, "later"), ["container a was started again once by the engine since"]),
        (2, container(5, 11, "later"), ["container a was started again 3 times by the engine since"]),
        (2, container(2), []),
        (2, container(0, 11, "later"), []),  # somebody restarted it
        (5, container(2, 11, "later"), ["container a was started again 2 times by the engine since"]),
    ],
)
def test_what_the_engine_had_to_start_again_is_no_success(was: int, now: dict[str, Any], told: list[str]) -> None:
    """Though it runs at the moment of looking; after a restart of the daemon its count says nothing."""
    known = before(container(was))
    assert proof.prove(Scripted(now), REQUEST, known, [], restarted=False, kept=True) == told
    assert proof.prove(Scripted(now), REQUEST, known, [], restarted=True) == []


def test_after_a_restart_all_has_to_run_on_from_look_to_look() -> None:
    """One that is started again in between begins the count of looks anew; one that goes on so fails."""
    known = before(container())
    once = Scripted(container(0, 11), container(0, 11), container(1, 12))
    assert proof.prove(once, {**REQUEST, "proof": 5}, known, [], restarted=True) == []
    assert once.seen == 2 + 1 + proof.LOOKS
    calls: list[dict[str, Any]] = [container(number, 10 + number) for number in range(10**5)]
    told = proof.prove(Scripted(*calls), REQUEST, known, [], restarted=True)
    assert told == ["container a does not run on: it was started again meanwhile"]


def test_what_was_paused_is_paused_again() -> None:
    """Where it was started since, and is the same one; not where somebody let it go on."""
    known = before(container(paused=True))
    assert (known["containers"]["a"]["health"], known["containers"]["a"]["ports"]) == ("", [])
    anew = Scripted(container(0, 11, "2026-01-01T00:00:09Z"))
    assert proof.prove(anew, REQUEST, known, [], restarted=True) == ["container a was paused and runs"]
    other = Scripted({**container(0, 11, "2026-01-01T00:00:09Z"), "Id": "j"})
    for one, done in ((anew, [("pause", "a")]), (Scripted(container()), []), (other, [])):
        assert pause(_Notes(), one, known["containers"]) == []  # type: ignore[arg-type]
        assert one.done == done
    assert proof.prove(Scripted(container()), REQUEST, known, [], restarted=True) == []


class _Notes:
    def remember(self, *_: Any, **__: Any) -> None:
        pass


# --- settings ---------------------------------------------------------------------------------------

INFO: Final = {
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=no-new-privileges"],
    "Plugins": {"Authorization": ["asks"]},
    "RegistryConfig": {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", "10.0.0.0/8"],
        "IndexConfigs": {"docker.io": {"Secure": True}, "Old.example:5000": {"Secure": False}},
    },
}
ANYTHING: Final = dict.fromkeys(daemon._LIVE, True)


@pytest.mark.parametrize(
    ("key", "value", "there"),
    [
        ("no-new-privileges", True, True),
        ("no-new-privileges", False, False),
        ("seccomp-profile", "builtin", True),
        ("seccomp-profile", "", True),
        ("seccomp-profile", "unconfined", False),
        ("seccomp-profile", "/etc/docker/own.json", False),
        ("authorization-plugins", ["asks"], True),
        ("authorization-plugins", ["asks", "another"], False),
        ("insecure-registries", ["http://Old.example:5000", "127.0.0.0/8", "10.1.2.3/8"], True),
        ("insecure-registries", ["127.0.0.0/8", "::1/128"], False),
        ("insecure-registries", ["10.0.0.0"], False),
    ],
)
def test_settings_are_looked_for_where_the_engine_shows_them(key: str, value: Any, there: bool) -> None:
    """Also those that stand in a list of words, or in two places."""
    expected = daemon.shown(key, value, ANYTHING)
    assert expected is not None
    told = proof.not_in_effect(Scripted(info=INFO), [expected])
    assert (told == []) is there, told
    if not there:
        kept = {**expected, "value": proof.effects(Scripted(), INFO, [expected])[0]}  # as for the way back
        assert proof.not_in_effect(Scripted(info=INFO), [kept]) == []


def test_nothing_is_expected_of_an_engine_that_does_not_show_it() -> None:
    """Nor of a key that has no value of its own."""
    without = {key: one for key, one in ANYTHING.items() if key != "no-new-privileges"}
    assert daemon.shown("no-new-privileges", True, without) is None
    assert daemon.shown("insecure-registries", None, ANYTHING) is None
    assert daemon.shown("log-level", "info", ANYTHING) is None


NEW: Final = "docker-no-new-privileges"
LIVE: Final = "docker-live-restore"


def looked(config: str, options: list[str], live_restore: bool) -> HostState:
    """A host of which the engine shows two settings."""
    info = {"SecurityOptions": options, "LiveRestoreEnabled": live_restore}
    return state(config, daemon={"started": 2000.0}, found=engine(info=info))


def planned(control: str, disruption: Disruption) -> HostPlan:
    """The plan for one control."""
    return plan_host(looked("{}", [], False), baseline(control), Policy(Safety.UNSAFE, disruption))


@pytest.mark.parametrize(("control", "action"), [(NEW, "restart"), (LIVE, "reload")])
def test_what_was_to_be_taken_up_and_is_pending_has_failed(control: str, action: str) -> None:
    """It leads to the way back; what the activation was not to take up stays pending."""
    plan = planned(control, Disruption(action))
    assert plan.steps.activation.action == action
    config = json.dumps({"no-new-privileges": True, "live-restore": True})
    fixed, pending, failed = verify.sort(plan, looked(config, [], False), baseline(control))
    assert (fixed, pending, len(failed)) == ([], [], 1)
    assert failed[0].reason.startswith("not in effect: is true in the configuration")
    good = looked(config, ["name=no-new-privileges"], True)
    assert [len(one) for one in verify.sort(plan, good, baseline(control))] == [1, 0, 0]


@pytest.mark.parametrize(("control", "action"), [(NEW, "reload"), (NEW, "none"), (LIVE, "none")])
def test_what_was_not_to_be_taken_up_is_pending(control: str, action: str) -> None:
    """As where nothing could be activated."""
    plan = planned(control, Disruption.RESTART)
    activation = msgspec.structs.replace(plan.steps.activation, action=action)
    plan = msgspec.structs.replace(plan, steps=msgspec.structs.replace(plan.steps, activation=activation))
    config = json.dumps({"no-new-privileges": True, "live-restore": True})
    assert [len(one) for one in verify.sort(plan, looked(config, [], False), baseline(control))] == [0, 1, 0]
