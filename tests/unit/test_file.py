"""Mode and owner of files: stricter ones are left alone, links are not followed to change."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.audit import audit
from remediator.model import Attributes, Disruption, Finding, Outcome, Safety
from remediator.plan.model import Policy
from remediator.plan.plan import plan_host
from tests.unit.host import CONFIG, UNIT, baseline, file, state

BOTH = ("file-daemon-config-owner", "file-daemon-config-mode")
SAFE = Policy(Safety.SAFE, Disruption.NONE)


def judged(control: str, one: dict[str, Any]) -> Finding:
    """The finding of a control on daemon.json."""
    (found,) = audit(state(files={CONFIG: one}), baseline(control))
    return found


@pytest.mark.parametrize(
    ("mode", "after"),
    [
        ("0666", "0644"),
        ("0777", "0644"),
        ("0646", "0644"),
        ("4755", "0644"),
        ("0644", None),
        ("0600", None),
        ("0000", None),
    ],
)
def test_modes_lose_bits_and_gain_none(mode: str, after: str | None) -> None:
    """A mode within the wanted one passes."""
    found = judged("file-daemon-config-mode", file("{}", mode=mode))
    assert ([] if after is None else [after]) == [one.after for one in found.changes]
    assert (Outcome.PASS if after is None else Outcome.FAIL) is found.outcome


def test_mode_and_owner_are_one_step() -> None:
    """Both are set at once, and nothing else is."""
    plan = plan_host(state(files={CONFIG: file("{}", mode="0666", owner="app:app")}), baseline(*BOTH), SAFE)
    assert (Attributes(CONFIG, mode="0644", owner="root:root"),) == plan.steps.attributes
    assert plan.steps.files == ()


def test_sockets_come_last() -> None:
    """A restart makes sockets anew, so that they are set after it."""
    open_ = {"/run/docker.sock": {"type": "socket", "mode": "0666", "owner": "root:docker"}}
    plan = plan_host(state(files=open_), baseline("file-socket-mode"), Policy(Safety.UNSAFE, Disruption.NONE))
    assert (Attributes("/run/docker.sock", mode="0660", socket=True),) == plan.steps.attributes


def test_a_link_is_judged_by_what_it_leads_to_and_held() -> None:
    """What stands elsewhere is changed there, by whoever put it there."""
    linked = {"type": "link", "target": "/opt/daemon.json", "target_type": "file", "mode": "0666", "owner": "root:root"}
    (held,) = plan_host(state(files={CONFIG: linked}), baseline("file-daemon-config-mode"), SAFE).held
    assert held.reason == "a link to /opt/daemon.json: change it there"


def test_a_masked_unit_is_not_applicable() -> None:
    """A link to /dev/null says that there is no unit."""
    masked = {"type": "link", "target": "/dev/null", "target_type": "device", "mode": "0666", "owner": "root:root"}
    (found,) = audit(state(files={UNIT: masked}), baseline("file-docker-service-mode"))
    assert Outcome.NOT_APPLICABLE is found.outcome


@pytest.mark.parametrize(
    ("one", "outcome"),
    [
        ({"type": "absent"}, Outcome.NOT_APPLICABLE),
        ({"type": "unknown", "error": "permission denied"}, Outcome.UNKNOWN),
        ({"type": "link", "error": "link that leads nowhere"}, Outcome.UNKNOWN),
    ],
)
def test_what_is_not_there_or_not_seen_is_not_changed(one: dict[str, Any], outcome: Outcome) -> None:
    """A missing file is not applicable, one that cannot be looked at unknown."""
    assert outcome is judged("file-daemon-config-mode", one).outcome
    assert plan_host(state(files={CONFIG: one}), baseline(*BOTH), SAFE).changes == ()


def test_every_certificate_is_judged() -> None:
    """A token that stands for several files gives a finding for each."""
    paths = ["/etc/docker/certs.d/a/ca.crt", "/etc/docker/certs.d/b/ca.crt"]
    files = {paths[0]: file(mode="0644"), paths[1]: file(mode="0444")}
    found = audit(state(files=files, paths={"{registry-certs}": paths}), baseline("file-registry-certs-mode"))
    assert [(paths[0], Outcome.FAIL), (paths[1], Outcome.PASS)] == [(one.resource, one.outcome) for one in found]
