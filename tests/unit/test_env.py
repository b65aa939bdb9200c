"""Content trust: whether the variable is set, and whether setting it does anything."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.audit import audit
from remediator.model import Disruption, FileEdit, Finding, Outcome, Safety
from remediator.plan.model import Policy
from remediator.plan.plan import plan_host
from tests.unit.host import ENVIRONMENT, baseline, engine, file, state

PROFILE = "/etc/profile.d/docker.sh"
DROP_IN = "/etc/systemd/system/ci.service.d/a.conf"
UNSAFE = Policy(Safety.UNSAFE, Disruption.RESTART)


def findings(files: dict[str, Any], **about: str) -> dict[str, Finding]:
    """What is found of content trust, by file."""
    given = state(files=files, about=about, found=engine())
    return {one.resource: one for one in audit(given, baseline("env-content-trust"))}


def edits(files: dict[str, Any]) -> dict[str, str]:
    """The planned new texts by file."""
    plan = plan_host(state(files=files), baseline("env-content-trust"), UNSAFE)
    return {one.path: one.content for one in plan.steps.files if isinstance(one, FileEdit)}


@pytest.mark.parametrize("value", ["1", "true", "TRUE", "t", "yes", "on", "no", "off", "2", "enabled"])
def test_every_value_that_is_not_false_is_set(value: str) -> None:
    """The client takes what does not parse as a boolean for true."""
    assert Outcome.PASS is findings({ENVIRONMENT: file(f"DOCKER_CONTENT_TRUST={value}\n")})[ENVIRONMENT].outcome


@pytest.mark.parametrize("value", ["0", "f", "F", "false", "FALSE", "False", "", '""', "'0'"])
def test_every_false_value_fails_and_is_set_in_place(value: str) -> None:
    """What strconv calls false is not set, however it is quoted."""
    files = {ENVIRONMENT: file(f"A=1\nDOCKER_CONTENT_TRUST={value}\nB=2\n")}
    assert Outcome.FAIL is findings(files)[ENVIRONMENT].outcome
    assert edits(files) == {ENVIRONMENT: "A=1\nDOCKER_CONTENT_TRUST=1\nB=2\n"}


def test_where_it_is_set_nowhere_one_line_is_added() -> None:
    """The file of the login environment is where a new variable goes, made where it is missing."""
    assert edits({ENVIRONMENT: file("PATH=/bin")}) == {ENVIRONMENT: "PATH=/bin\nDOCKER_CONTENT_TRUST=1\n"}
    assert edits({}) == {ENVIRONMENT: "DOCKER_CONTENT_TRUST=1\n"}


def test_each_file_that_switches_it_off_is_a_finding() -> None:
    """Profiles and units have environments of their own."""
    files = {
        ENVIRONMENT: file("DOCKER_CONTENT_TRUST=1\n"),
        PROFILE: file("export DOCKER_CONTENT_TRUST=0\n"),
        DROP_IN: file('[Service]\nEnvironment="A=1" "DOCKER_CONTENT_TRUST=0"\n'),
        "/etc/profile.d/other.sh": file("# DOCKER_CONTENT_TRUST=0 is bad\n"),
        "/etc/somewhere": file("DOCKER_CONTENT_TRUST=0\n"),
    }
    outcomes = {path: one.outcome for path, one in findings(files).items()}
    assert outcomes == {
        ENVIRONMENT: Outcome.PASS,
        PROFILE: Outcome.FAIL,
        DROP_IN: Outcome.FAIL,
        "/etc/profile.d/other.sh": Outcome.NOT_APPLICABLE,
    }
    assert edits(files) == {
        PROFILE: "export DOCKER_CONTENT_TRUST=1\n",
        DROP_IN: '[Service]\nEnvironment="A=1" "DOCKER_CONTENT_TRUST=1"\n',
    }


@pytest.mark.parametrize(
    ("cli", "text", "told"),
    [
        ("29.0.0", "DOCKER_CONTENT_TRUST=1\n", "the client 29.0.0 no longer verifies anything"),
        ("30.1.2", "", "the client 30.1.2 no longer verifies anything"),
        ("28.5.2", "DOCKER_CONTENT_TRUST=1\n", "pulls fail where the registry has no trust data"),
        ("", "DOCKER_CONTENT_TRUST=1\n", "pulls fail where the registry has no trust data"),
        (
            "28.5.2",
            "DOCKER_CONTENT_TRUST=1\nDOCKER_CONTENT_TRUST_SERVER=https://n.example\n",
            "verified by https://n.example",
        ),
    ],
)
def test_the_reason_says_what_the_variable_does_here(cli: str, text: str, told: str) -> None:
    """Whether it is set is one verdict, whether anything is verified another."""
    found = findings({ENVIRONMENT: file(text)}, cli=cli)[ENVIRONMENT]
    assert told in found.reason
    assert all(told in one.evidence[0] for one in found.changes)


@pytest.mark.parametrize(
    "strange",
    [{"type": "link", "mode": "0777", "owner": "root:root"}, {"type": "file", "error": "not UTF-8 at byte 0"}],
)
def test_a_file_that_cannot_be_read_is_unknown(strange: dict[str, Any]) -> None:
    """Such a file is not changed."""
    assert Outcome.UNKNOWN is findings({ENVIRONMENT: strange})[ENVIRONMENT].outcome
    assert edits({ENVIRONMENT: strange}) == {}
