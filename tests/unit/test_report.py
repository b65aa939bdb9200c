"""Reports for people: what a terminal would obey is made visible, and colour is for terminals."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.apply.apply import Prediction
from remediator.audit import audit, tally
from remediator.baseline import load_baseline
from remediator.drift.drift import Drifted
from remediator.model import ABSENT, Disruption, Safety
from remediator.plan.model import Policy
from remediator.plan.plan import make
from remediator.report import plans, terminal, text
from tests.unit.host import CONFIG, MIB, baseline, engine, file, inspect, program, state

EVIL = "evil\x1b[2J\x1b]0;title\x07\r\n\u202egnp\x9b31m"
POLICY = Policy(Safety.UNSAFE, Disruption.RESTART)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def reports(stream: io.StringIO) -> str:
    """Everything that is told about a host whose every name and value is hostile."""
    out = text.Writer(stream)
    host = {"Privileged": True, "RestartPolicy": {"Name": EVIL, "MaximumRetryCount": 0}}
    live = {EVIL: {"memory": MIB, "memory_peak": MIB, "pids": 1}}
    evil = file('{"icc": "' + EVIL.encode("unicode_escape").decode().replace("\\x", "\\u00") + '"}')
    given_ = state(
        files={CONFIG: evil}, daemon={}, found=engine(inspect(EVIL, host), live=live), about={"hostname": EVIL}
    )
    findings = audit(given_, load_baseline())
    text.audit(findings, tally(findings), out, show_all=True)
    plans.plan(make([given_], load_baseline(), POLICY, datetime(2026, 11, 23, tzinfo=UTC)), out)
    diffs: tuple[dict[str, Any], ...] = (
        {"before": EVIL, "after": "x", "before_header": EVIL},
        {"before": {"path": EVIL, "mode": "0666"}, "after": {"path": EVIL, "mode": EVIL}},
        {"prepared": EVIL},
    )
    text.prediction(Prediction(False, (EVIL,), diffs, (EVIL,)), out)
    text.drift(
        [Drifted(EVIL, "container", EVIL, EVIL, left=EVIL), Drifted(EVIL, "x", EVIL, "", gone=True)], [], {}, out
    )
    return stream.getvalue()


def test_host_data_reaches_no_terminal_as_a_command() -> None:
    """Escape sequences, control characters and turned text are shown and not obeyed."""
    said = reports(io.StringIO())
    assert "evil\\x1b[2J" in said
    assert [one for one in said if not one.isprintable() and one != "\n"] == []


def test_colour_is_for_terminals() -> None:
    """Where a terminal reads there is colour and nothing else to obey, elsewhere none."""
    plain, coloured = reports(io.StringIO()), reports(Terminal())
    assert "\x1b[" not in plain
    assert "\x1b[31m" in coloured
    for code in sorted(terminal._COLOURS.values(), key=len, reverse=True):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert plain == coloured.replace("\x1b[0m", "")


def test_a_plan_of_many_hosts_tells_the_same_change_once() -> None:
    """Each change and each reason is told once, with the hosts that it concerns; a table tells what is disturbed."""
    hosts = {"a": None, "b": None, "c": '{"live-restore": true}'}
    states = [
        state(config, root="/", daemon={}, found=engine(), about={"hostname": one}) for one, config in hosts.items()
    ]
    chosen = baseline("docker-live-restore", "docker-no-new-privileges", "docker-icc")
    out = io.StringIO()
    policy = Policy(Safety.UNSAFE, Disruption.RELOAD)
    plan = make(states, chosen, policy, datetime(2026, 11, 23, tzinfo=UTC), inventory="hosts.yml")
    plans.plan(plan, text.Writer(out))
    lines = out.getvalue().splitlines()
    assert lines[:2] == [
        "  ~ /etc/docker/daemon.json /live-restore: (not set) -> true  [docker-live-restore]",
        "      a, b",
    ]
    held = lines[lines.index("Held (not run):") + 1 :]
    assert [one for one in held if one.startswith("  # ")] == [
        "  # Default bridge lets containers talk to each other  [docker-icc]: all 3 hosts",
        "  # Containers can gain privileges by default  [docker-no-new-privileges]: all 3 hosts",
    ]
    table = [line.split() for line in lines if line.split()[:1] in (["a"], ["b"], ["c"])]
    assert [(row[0], row[2], row[6], row[7]) for row in table] == [
        ("a", "1", "2", "reload"),
        ("b", "1", "2", "reload"),
        ("c", "0", "2", "left"),
    ]
    assert lines[-2] == "3 hosts, 9 findings: 2 planned, 6 held"


@given(st.text())
def test_cleaned_text_is_printable_and_told_once(one: str) -> None:
    """Any text becomes one printable line, and a printable one stays as it is."""
    cleaned = text.clean(one)
    assert cleaned.isprintable()
    assert cleaned == text.clean(cleaned)
    assert (cleaned == one) == one.isprintable()


@pytest.mark.parametrize(
    ("value", "path", "expected"),
    [
        (ABSENT, "/x", "(not set)"),
        (False, "/icc", "false"),
        ("é", "/x", '"é"'),
        (0, "/HostConfig/Memory", "unlimited"),
        (-1, "/HostConfig/MemorySwap", "unlimited"),
        (64 * MIB, "/HostConfig/Memory", "64 MiB"),
        (1024 * MIB, "/HostConfig/Memory", "1 GiB"),
        (5, "/HostConfig/Memory", "5 bytes"),
        ({"Name": "on-failure", "MaximumRetryCount": 5}, "/HostConfig/RestartPolicy", "on-failure:5"),
        ({"Name": "", "MaximumRetryCount": 0}, "/HostConfig/RestartPolicy", "no"),
    ],
)
def test_values_read_as_a_person_says_them(value: Any, path: str, expected: str) -> None:
    """Sizes have units, and a key that is not set says so."""
    assert expected == text.value(value, path)


def test_errors_are_cleaned_as_well() -> None:
    """A name on the command line is told without being obeyed."""
    done = program("controls", "x\x1b[2J")
    assert (done.returncode, done.stdout) == (1, "")
    assert "x\\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr
