"""The whole way on file trees, by the command line: plan, dry-run, apply, drift, roll back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from remediator.plan import saved
from remediator.plan.plan import seal
from tests.unit.host import CONFIG, ENVIRONMENT, MACHINE_ID, Tree, inspect, program

SECRET: Final = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be
BEFORE: Final = '{\n  "log-opts": {"splunk-token": "' + SECRET + '"},\n  "icc": true,\n  "zzz": 1\n}\n'
POLICY: Final = ("--fix", "unsafe", "--max-disruption", "restart")
RULES_DIR: Final = "/etc/docker"


class Host:
    """A tree under a small baseline, as a user of the command line sees it."""

    def __init__(self, folder: Path) -> None:
        self.tree = Tree(folder)
        self.tree.write(CONFIG, BEFORE, 0o646)
        self.tree.write(ENVIRONMENT, "A=1", 0o600)
        self.plan = folder / "plan.json"
        self.baseline = folder / "baseline.yaml"
        controls = ["docker-icc", "env-content-trust", "file-daemon-config-mode"]
        self.baseline.write_text(json.dumps({"name": "small", "include": controls}), encoding="utf-8")
        self.said = ""

    def run(self, *words: str | Path, given: str = "") -> int:
        """Run a command, check that nothing it says is a traceback or a secret, and return its code."""
        done = program(*words, given=given)
        self.said = done.stdout
        self.told = done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
        return done.returncode

    def make_plan(self, *words: str | Path) -> int:
        """Save a plan of the tree."""
        chosen = ("--root", self.tree.root, "--baseline", self.baseline)
        return self.run("plan", *chosen, *POLICY, "-o", self.plan, *words)

    def apply(self, *words: str | Path) -> int:
        """Apply the saved plan."""
        return self.run("apply", self.plan, *words)

    def rollback(self, run: str) -> int:
        """Take a run back."""
        return self.run("rollback", run, "--root", self.tree.root)

    def history(self) -> list[dict[str, Any]]:
        """The receipts, the oldest first."""
        assert self.run("history", "--root", self.tree.root, "--format", "json") == 0
        found: list[dict[str, Any]] = json.loads(self.said)
        return found

    def drift(self, *words: str) -> int:
        """Look for drift once."""
        chosen = ("--root", self.tree.root, "--baseline", self.baseline, "--format", "json")
        return self.run("drift", "--once", *chosen, *POLICY, *words)

    def files(self) -> dict[str, tuple[str, int]]:
        """Text and mode of the files that the baseline is about."""
        paths = (CONFIG, ENVIRONMENT)
        return {path: (self.tree.read(path), self.tree.path(path).stat().st_mode & 0o777) for path in paths}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host that fails three controls."""
    return Host(tmp_path)


def test_the_whole_way_there_and_back(host: Host) -> None:
    """A dry-run predicts what apply does, drift is found and corrected, and a rollback restores every byte."""
    was = host.files()
    assert host.make_plan() == 2
    before = host.tree.snapshot()
    assert host.apply("--dry-run", "--format", "json") == 2
    predicted = json.loads(host.said)
    assert (True, before) == (predicted["ok"], host.tree.snapshot())

    assert host.apply("--yes", "--format", "json") == 2
    receipt = json.loads(host.said)
    assert predicted["changed"] == receipt["hosts"][0]["changed"]
    assert {"docker-icc", "env-content-trust", "file-daemon-config-mode"} == {
        one["control"] for one in receipt["hosts"][0]["fixed"]
    }
    fixed = {
        CONFIG: (BEFORE.replace('"icc": true', '"icc": false'), 0o644),
        ENVIRONMENT: ("A=1\nDOCKER_CONTENT_TRUST=1\n", 0o600),
    }
    assert fixed == host.files()

    assert host.apply("--yes") == 1
    assert f"was applied already, by run {receipt['run']}" in host.told
    assert [("apply", receipt["run"])] == [(one["kind"], one["run"]) for one in host.history()]
    assert host.drift() == 0
    assert json.loads(host.said)["drifted"] == []

    host.tree.write(ENVIRONMENT, "A=1\nDOCKER_CONTENT_TRUST=0\n")
    assert host.drift() == 2
    (drifted,) = json.loads(host.said)["drifted"]
    assert (drifted["path"], drifted["left"], drifted["now"]) == ("/DOCKER_CONTENT_TRUST", "1", "0")
    assert host.drift("--mode", "correct") == 2
    assert "DOCKER_CONTENT_TRUST=1" in host.tree.read(ENVIRONMENT)
    assert [one["kind"] for one in host.history()] == ["apply", "drift"]

    host.tree.write(ENVIRONMENT, fixed[ENVIRONMENT][0], 0o600)
    assert host.rollback(receipt["run"]) == 2
    assert was == host.files()
    assert host.rollback(receipt["run"]) == 1
    assert "was rolled back already" in host.told
    host.drift()
    assert json.loads(host.said)["drifted"] == []
    for path in (host.tree.root / "var/lib/remediator/runs").iterdir():
        assert SECRET not in path.read_text(encoding="utf-8")
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_rollback_leaves_alone_what_others_changed_since(host: Host) -> None:
    """What was edited after the run is kept and named, and the rest is restored."""
    host.tree.path(ENVIRONMENT).unlink()
    assert host.make_plan() == 2
    assert host.apply("--yes", "--format", "json") == 2
    run = json.loads(host.said)["run"]
    mine = host.tree.read(CONFIG).replace("zzz", "mine")
    host.tree.write(CONFIG, mine)
    host.rollback(run)
    assert f"{CONFIG}: was changed by someone else after the run" in host.said
    assert mine == host.tree.read(CONFIG)
    assert not host.tree.path(ENVIRONMENT).exists()


def test_a_plan_without_an_answer_is_not_applied(host: Host) -> None:
    """Without a terminal to ask on and without --yes nothing is done."""
    host.make_plan()
    before = host.tree.snapshot()
    assert host.apply() == 1
    assert "there is no terminal to ask on" in host.told
    assert before == host.tree.snapshot()


@pytest.mark.parametrize("words", [("--yes",), ("--dry-run",)])
@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        (CONFIG, BEFORE.replace("zzz", "yyy"), f"the plan is stale: {CONFIG} has changed"),
        (CONFIG, BEFORE.replace(SECRET, SECRET[::-1]), f"the plan is stale: {CONFIG} has changed"),
        (CONFIG, BEFORE + " ", f"the plan is stale: {CONFIG} has changed"),
        (CONFIG, "{", f"the plan is stale: {CONFIG} has changed"),
        (ENVIRONMENT, "", f"the plan is stale: {ENVIRONMENT} has changed"),
        ("/etc/machine-id", "f" * 32, f"the plan was made for web1 ({MACHINE_ID})"),
    ],
)
def test_a_plan_for_something_else_is_refused(
    host: Host, words: tuple[str, ...], path: str, content: str, reason: str
) -> None:
    """A host that changed since, or another host, is left alone."""
    host.make_plan()
    host.tree.write(path, content)
    before = {one: two for one, two in host.tree.snapshot().items() if "remediator" not in one}
    assert host.apply(*words) == 1
    assert reason in host.told
    kept = {
        one: two for one, two in host.tree.snapshot().items() if "remediator" not in one and not one.endswith("/lib")
    }
    assert {one: two for one, two in before.items() if not one.endswith("/lib")} == kept


def test_a_mode_that_changed_makes_a_plan_stale(host: Host) -> None:
    """Modes and owners count as much as texts."""
    host.make_plan()
    host.tree.path(CONFIG).chmod(0o666)
    assert host.apply("--yes") == 1
    assert "the plan is stale" in host.told


def test_an_altered_plan_is_refused(host: Host) -> None:
    """What was planned is what is applied."""
    host.make_plan()
    host.plan.write_text(host.plan.read_text(encoding="utf-8").replace('"0644"', '"0777"'), encoding="utf-8")
    assert host.apply("--yes") == 1
    assert "was altered" in host.told


def test_a_plan_of_other_controls_is_refused(host: Host) -> None:
    """What counts as right may be something else by now: its digest binds the plan."""
    host.make_plan()
    other = msgspec.structs.replace(saved.load(host.plan), baseline_digest="0" * 64)
    host.plan.write_bytes(saved.encode(seal(other)))
    before = host.tree.snapshot()
    assert host.apply("--yes") == 1
    assert "made with other controls" in host.told
    assert before == host.tree.snapshot()


def test_one_document_is_printed(host: Host) -> None:
    """With --format json standard output is one JSON document, whatever the command finds."""
    chosen = ("--root", host.tree.root, "--baseline", host.baseline)
    commands: list[tuple[int, tuple[str | Path, ...]]] = [
        (2, ("audit", *chosen, "--format", "json")),
        (2, ("audit", *chosen, "--format", "json", "--all")),
        (2, ("plan", *chosen, *POLICY, "--format", "json")),
        (2, ("plan", *chosen, *POLICY, "--format", "json", "-o", host.plan)),
        (2, ("plan", *chosen, *POLICY, "--format", "json", "-o", "-")),
        (2, ("plan", *chosen, *POLICY, "-o", "-")),
        (0, ("collect", "--root", host.tree.root)),
        (0, ("history", "--root", host.tree.root, "--format", "json")),
        (0, ("controls", "--format", "json")),
        (0, ("controls", "docker-icc", "--format", "json")),
        (2, ("drift", "--once", *chosen, *POLICY, "--format", "json")),
    ]
    for code, words in commands:
        assert code == host.run(*words), words
        json.loads(host.said)


def test_nothing_to_do_is_told_and_is_no_finding(host: Host) -> None:
    """A host that complies gives 0, an empty plan, and one document."""
    host.tree.write(CONFIG, '{"icc": false}')
    host.tree.write(ENVIRONMENT, "DOCKER_CONTENT_TRUST=1\n")
    assert host.run("audit", "--root", host.tree.root, "--baseline", host.baseline) == 0
    assert host.make_plan() == 0
    before = host.tree.snapshot()
    assert host.apply("--yes") == 0
    assert "Nothing to change." in host.said
    assert host.apply("--yes", "--format", "json") == 0
    assert json.loads(host.said) == {"ok": True, "changed": []}
    assert host.drift("--mode", "correct") == 0
    assert before == host.tree.snapshot()


def test_a_saved_state_is_as_good_as_the_host(host: Host) -> None:
    """A state from a file or from standard input is judged as the tree itself."""
    host.tree.record(inspect("db"))
    state = host.tree.folder / "state.json"
    chosen = ("--baseline", host.baseline, "--format", "json")
    assert host.run("collect", "--root", host.tree.root, "-o", state) == 0
    assert host.run("audit", "--state", state, *chosen) == 2
    from_file = json.loads(host.said)
    assert host.run("audit", "--state", "-", *chosen, given=state.read_text(encoding="utf-8")) == 2
    assert from_file == json.loads(host.said)
    assert host.run("audit", "--root", host.tree.root, *chosen) == 2
    assert from_file["findings"] == json.loads(host.said)["findings"]
    assert state.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "null",
        "[" * 10_000,
        '{"format_version": 2}',
        '{"host": {"name": "x"}, "collected_at": "now", "facts": {}}',
        '{"host": {"name": "x"}, "collected_at": "now", "facts": {"daemon": {}}, "about": {"paths": {}}}',
    ],
)
def test_what_is_no_state_is_told(host: Host, content: str) -> None:
    """Anything else on standard input is an error with a hint."""
    assert host.run("plan", "--state", "-", given=content) == 1
    assert "--state -: " in host.told


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "no-such-plan.json"),
        ("apply", "/"),
        ("audit", "--root", "/no/such/directory"),
        ("audit", "--state", "/no/such/state"),
        ("audit", "--baseline", "no-such"),
        ("audit", "--baseline", "/"),
        ("controls", "no-such"),
        ("history", "no-such", "--root", "{root}"),
        ("rollback", "no-such", "--root", "{root}"),
        ("plan", "--root", "{root}", "--emit", "/dev/null/project"),
        ("plan", "--root", "{root}", "--emit", "/dev/null"),
        ("plan", "--root", "{root}", "-o", "/no/such/folder/plan.json"),
        ("collect", "--root", "{root}", "-o", "/"),
        ("drift", "--root", "{root}"),
        ("drift", "install", "--every", "now and then"),
    ],
)
def test_errors_are_told_without_a_traceback(host: Host, words: tuple[str, ...]) -> None:
    """What cannot be done says why on standard error, and the code is 1."""
    assert host.run(*(one.replace("{root}", str(host.tree.root)) for one in words)) == 1
    assert host.told.startswith("remediator: ")
    assert host.said == ""


@pytest.mark.parametrize("words", [(), ("no-such-command",), ("plan", "--fix", "everything"), ("apply",)])
def test_wrong_words_are_told_with_the_usage(host: Host, words: tuple[str, ...]) -> None:
    """The command line itself explains what it takes."""
    assert host.run(*words) != 0
    assert "usage: remediator" in host.told


def test_a_plan_never_leaves_the_tree(host: Host) -> None:
    """Where the tree's links lead to this machine, nothing is planned that would change it."""
    outside = host.tree.folder / "outside"
    outside.mkdir()
    target = outside / "daemon.json"
    target.write_text('{"icc": true}', encoding="utf-8")
    target.chmod(0o666)
    host.tree.path(CONFIG).unlink()
    host.tree.path(RULES_DIR).rmdir()
    host.tree.path(RULES_DIR).symlink_to(outside)
    host.make_plan("--format", "json")
    changed = {one["resource"] for one in json.loads(host.said)["hosts"][0]["changes"]}
    assert {ENVIRONMENT} == changed
