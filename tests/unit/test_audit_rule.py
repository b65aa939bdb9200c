"""Audit watches, however the rules spell them, and the one file that is written."""

from __future__ import annotations

from typing import Any

import pytest

from remediator.audit import audit
from remediator.kinds.audit_rule import HEADER, watches
from remediator.model import Disruption, Finding, HostState, Outcome, Safety
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host
from tests.unit.host import RULES, baseline, file, state

COMPILED = "/etc/audit/audit.rules"
OTHER = "/etc/audit/rules.d/10-other.rules"
ETC = {"/etc/docker": {"type": "directory", "mode": "0755", "owner": "root:root"}}


def host(files: dict[str, Any], **more: Any) -> HostState:
    """A host that has /etc/docker, and some rules."""
    return state(files={**ETC, **files}, **more)


def judged(files: dict[str, Any], **more: Any) -> Finding:
    """The finding on the watch of /etc/docker."""
    (found,) = audit(host(files, **more), baseline("audit-etc-docker"))
    return found


def planned(files: dict[str, Any], *controls: str) -> HostPlan:
    """The plan of the watch of /etc/docker, or of other controls."""
    chosen = baseline(*(controls or ("audit-etc-docker",)))
    return plan_host(host(files), chosen, Policy(Safety.UNSAFE, Disruption.RESTART))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-w /etc/docker -p wa -k docker", {"/etc/docker": "wa"}),
        ("-w /etc/docker/ -p aw", {"/etc/docker": "wa"}),
        ("-w /etc/docker", {"/etc/docker": "rwxa"}),
        ("-k docker -p rx -w /etc/docker", {"/etc/docker": "rx"}),
        ("   -w   /etc/docker   -p   wa   ", {"/etc/docker": "wa"}),
        ("-w /etc/docker -p wa # why", {"/etc/docker": "wa"}),
        ("-a always,exit -F path=/usr/bin/runc -F perm=x -k d", {"/usr/bin/runc": "x"}),
        ("-a exit,always -F dir=/etc/docker -F perm=wa", {"/etc/docker": "wa"}),
        ("-a always,exit -S all -F dir=/etc/docker/ -F perm=wa -F key=d", {"/etc/docker": "wa"}),
        ("-A always,exit -F dir=/etc/docker", {"/etc/docker": "rwxa"}),
        ("-a never,exit -F dir=/etc/docker -F perm=wa", {}),
        ("-a exit,never -F dir=/etc/docker", {}),
        ("-w /etc/docker -p wa -k never-forget", {"/etc/docker": "wa"}),
        ("-w /srv/never -p wa", {"/srv/never": "wa"}),
        ("-w /etc/docker -p r\n-w /etc/docker -p wa", {"/etc/docker": "rwa"}),
        ("# -w /etc/docker -p wa", {}),
        ("#-w /etc/docker -p wa", {}),
        ("-w", {}),
        ("-w '/etc/docker", {}),
        ("-D\n-b 8192\n-e 2\n", {}),
        ("", {}),
    ],
)
def test_watches_are_read_in_every_spelling(line: str, expected: dict[str, str]) -> None:
    """Watches and rules on a path or directory count with their permissions, comments and exceptions do not."""
    assert expected == watches(line)


@pytest.mark.parametrize(
    ("rules", "compiled", "outcome", "pending"),
    [
        ("-w /etc/docker -p wa\n", "-w /etc/docker -p wa\n", Outcome.PASS, False),
        ("-w /etc/docker -p rwxa\n", "-w /etc/docker -p rwxa\n", Outcome.PASS, False),
        ("-w /etc/docker -p wa\n", "", Outcome.FAIL, True),
        ("-w /etc/docker -p wa\n", "-w /etc/docker -p r\n", Outcome.FAIL, True),
        ("-w /etc/docker -p r\n", "-w /etc/docker -p r\n", Outcome.FAIL, False),
        ("", "-w /etc/docker -p wa\n", Outcome.FAIL, False),
    ],
)
def test_a_watch_counts_when_it_is_compiled(rules: str, compiled: str, outcome: Outcome, pending: bool) -> None:
    """Rules that augenrules has not taken up yet are pending activation."""
    found = judged({OTHER: file(rules), COMPILED: file(compiled)})
    assert (outcome, pending) == (found.outcome, found.pending)


def test_what_is_not_there_needs_no_watch() -> None:
    """A path that this host does not have is not applicable."""
    (found,) = audit(state(), baseline("audit-containerd-config"))
    assert Outcome.NOT_APPLICABLE is found.outcome


def test_all_watches_are_one_edit_with_the_permissions_added() -> None:
    """New rules come last under a header, and a weaker rule of the own file is replaced."""
    files = {RULES: file("-w /etc/docker -p r -k mine\n-w /srv -p r\n"), "/etc/default/docker": file("")}
    plan = planned(files, "audit-etc-docker", "audit-default-docker")
    assert [one.content for one in plan.steps.files] == [
        "-w /etc/docker -p rwa -k docker\n-w /srv -p r\n-w /etc/default/docker -p wa -k docker\n"
    ]
    assert plan.steps.load_audit_rules


def test_a_new_file_has_a_header_and_is_not_for_everyone() -> None:
    """Rules that cannot be loaded do not stop those that follow."""
    (edit,) = planned({}).steps.files
    assert (edit.content, edit.mode) == (HEADER + "-w /etc/docker -p wa -k docker\n", "0640")


@pytest.mark.parametrize("comment", ["# -w /etc/docker -p wa\n", "#-w /etc/docker -p wa -k x\n"])
def test_a_rule_in_a_comment_is_not_edited(comment: str) -> None:
    """A commented rule stays a comment, and a real one is added."""
    (edit,) = planned({RULES: file(comment)}).steps.files
    assert comment + "-w /etc/docker -p wa -k docker\n" == edit.content


def test_a_rule_in_another_file_is_left_there() -> None:
    """A weaker rule elsewhere is not edited: the own file says what is missing as well."""
    (edit,) = planned({OTHER: file("-w /etc/docker -p r\n")}).steps.files
    assert (edit.path, edit.content) == (RULES, HEADER + "-w /etc/docker -p rwa -k docker\n")


def test_a_last_line_without_an_end_is_ended_first() -> None:
    """The new rule does not run into the one before."""
    (edit,) = planned({RULES: file("-w /srv -p r")}).steps.files
    assert edit.content == "-w /srv -p r\n-w /etc/docker -p wa -k docker\n"


@pytest.mark.parametrize(
    ("files", "more", "reason"),
    [
        ({"/etc/audit/rules.d": {"type": "absent"}}, {}, "there is no /etc/audit/rules.d"),
        ({}, {"root": "/", "about": {"commands": []}, "daemon": {}}, "there is no augenrules"),
    ],
)
def test_without_auditd_rules_are_held(files: dict[str, Any], more: dict[str, Any], reason: str) -> None:
    """A host without auditd gets no file that nobody reads."""
    found = judged(files, **more)
    assert [f"auditd is not installed here: {reason}"] == [one.blocked for one in found.changes]


@pytest.mark.parametrize(
    "strange", [{"type": "file", "error": "permission denied"}, {"type": "link", "mode": "0777", "owner": "root:root"}]
)
def test_rules_that_cannot_be_read_are_unknown(strange: dict[str, Any]) -> None:
    """Nobody knows what is watched where a file of rules cannot be read."""
    assert Outcome.UNKNOWN is judged({RULES: strange}).outcome
    assert planned({RULES: strange}).changes == ()


@pytest.mark.parametrize("path", ["/srv/a b", "/srv/a\nb", "/srv/\x1b"])
def test_a_path_with_white_space_gets_no_rule(path: str) -> None:
    """A rule cannot spell it, and must not be split by it."""
    given = host(
        {path: {"type": "directory", "mode": "0755", "owner": "root:root"}}, paths={"{daemon:data-root}": [path]}
    )
    (found,) = audit(given, baseline("audit-data-root"))
    assert Outcome.UNKNOWN is found.outcome
