"""A bad host with containers of many kinds, from plan over dry-run and apply to rollback, on a real engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine import hosts
from tests.engine.private import PrivateEngine

pytestmark = pytest.mark.engine

POLICY = ("--fix", "unsafe", "--max-disruption", "restart")
WRITTEN = (
    "/etc/docker/daemon.json",
    "/etc/environment",
    "/etc/profile.d/docker.sh",
    "/etc/default/docker",
)
KINDS = ("daemon", "env", "file", "audit_rule", "container")


@dataclass
class Seen:
    """What a host looked like at one moment."""

    written: dict[str, str]
    inspects: dict[str, dict[str, Any]]
    lives: dict[str, tuple[int, str]]
    daemon: int
    files: dict[str, tuple[bytes, int, int, int]]
    memory: dict[str, int | None]
    pids: dict[str, int | None]
    pings: bool
    documents: dict[str, Any]


def see(host: PrivateEngine) -> Seen:
    """Look at everything that a run may change."""
    state = hosts.document(host.remediator("collect", code=0))["facts"]
    return Seen(
        written=hosts.written(host),
        inspects=hosts.inspects(host),
        lives=hosts.lives(host),
        daemon=hosts.daemon_pid(host),
        files={path: hosts.file(host, path) for path in WRITTEN},
        memory={name: hosts.memory_limit(host, name) for name in hosts.running(host)},
        pids={name: hosts.pids_limit(host, name) for name in hosts.running(host)},
        pings=host.pings("plain", "published"),
        documents={kind: {name: _bare(fact) for name, fact in state[kind].items()} for kind in KINDS},
    )


def _bare(fact: dict[str, Any]) -> Any:
    return {key: value for key, value in (fact.get("document") or {}).items() if key != "Id"}


@dataclass
class Story:
    """One host, and what was seen and said at each step."""

    host: PrivateEngine
    plan: Any
    before: Seen
    prediction: Any
    dried: Seen
    receipt: Any
    after: Seen
    second: Any
    second_code: int
    failing: list[Any]
    again: str


@pytest.fixture(scope="module")
def story(shared_engines: Callable[..., PrivateEngine], tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The bad host, planned, dry-run and applied."""
    folder = tmp_path_factory.mktemp("story")
    host = shared_engines(hosts.BAD_CONFIG, files=hosts.BAD_FILES)
    hosts.bad_host(host)
    path = str(folder / "plan.json")
    host.remediator("plan", *POLICY, "-o", path, code=2)
    plan = hosts.plan_of(host, *POLICY, code=2)
    before = see(host)
    prediction = hosts.document(host.remediator("apply", path, "--dry-run", "--format", "json", code=2))
    dried = see(host)
    receipt = hosts.document(host.remediator("apply", path, "--yes", "--format", "json"))
    after = see(host)
    second = host.remediator("plan", *POLICY, "--format", "json")
    return Story(
        host=host,
        plan=plan,
        before=before,
        prediction=prediction,
        dried=dried,
        receipt=receipt,
        after=after,
        second=hosts.document(second)["hosts"][0],
        second_code=second.returncode,
        failing=hosts.failing(host),
        again=host.remediator("apply", path, "--yes", code=1).stderr,
    )


def _planned(plan: Any, path: str) -> dict[str, Any]:
    return {one["resource"]: one["after"] for one in plan["changes"] if one["path"] == path}


def test_dry_run_changes_nothing(story: Story) -> None:
    """Files, containers and the daemon's process are after a dry-run what they were before."""
    assert story.dried == story.before


def test_dry_run_predicts_what_apply_does(story: Story) -> None:
    """The dry-run's list of changed tasks is the apply's, and neither had an error."""
    assert (story.prediction["ok"], story.prediction.get("errors", [])) == (True, [])
    assert story.prediction["changed"] == story.receipt["hosts"][0]["changed"]


def test_apply_fixes_all_it_planned(story: Story) -> None:
    """The fresh look after the apply finds every planned finding fixed."""
    host = story.receipt["hosts"][0]
    found = (host["ok"], host.get("pending", []), host.get("failed", []), host.get("errors", []))
    assert found == (True, [], [], [])
    assert {(one["control"], one["resource"]) for one in host["fixed"]} == {
        (one["control"], one["resource"]) for one in story.plan["findings"]
    }


def test_second_plan_is_empty(story: Story) -> None:
    """Planning once more finds nothing to do, and says so by its exit code."""
    assert (story.second_code, story.second["changes"]) == (0, [])


def test_what_still_fails_is_held_with_a_reason(story: Story) -> None:
    """Every finding that an audit still has is one that the plan holds, with a reason."""
    held = hosts.held_reasons(story.second)
    assert {(one["control"], one["resource"]) for one in story.failing} == set(held)
    assert [reason for reason in held.values() if not reason] == []


def test_apply_brings_no_new_failures(story: Story) -> None:
    """What fails after the apply failed before it."""
    before = {(one["finding"]["control"], one["finding"]["resource"]) for one in story.plan["held"]}
    assert {(one["control"], one["resource"]) for one in story.failing} - before == set()


def test_other_keys_and_their_spelling_survive(story: Story) -> None:
    """In daemon.json only the values of planned keys change; the rest keeps its bytes."""
    text = story.after.files["/etc/docker/daemon.json"][0].decode()
    for kept in (
        '\n\t"max-concurrent-downloads":7, "log-opts": {"max-size": "10m", "tag": "{{.Name}}"},\n',
        '{ "icc" : false,\n    "log-level":"info" ,\n',
        '\n  "experimental" :false,\n  "userland-proxy"   : false',
    ):
        assert kept in text


def test_modes_are_what_was_planned(story: Story) -> None:
    """The files with bad modes have the planned ones."""
    documents = story.after.documents["file"]
    assert {path: documents[path]["mode"] for path in hosts.BAD_MODES} == {
        "/etc/docker": "0755",
        "/etc/docker/daemon.json": "0644",
        "/etc/default/docker": "0644",
    }


def test_variables_are_set_where_they_stood(story: Story) -> None:
    """Content trust is on in both files that switched it off, and their other lines are as before."""
    texts = {path: story.after.files[path][0].decode() for path in ("/etc/environment", "/etc/profile.d/docker.sh")}
    assert texts == {
        path: hosts.BAD_FILES[path].replace("DOCKER_CONTENT_TRUST=0", "DOCKER_CONTENT_TRUST=1") for path in texts
    }


def test_containers_on_docker0_no_longer_reach_each_other(story: Story) -> None:
    """icc=false is in effect: of two containers that pinged each other neither can any more."""
    assert (story.before.pings, story.after.pings) == (True, False)


def test_all_containers_run_again(story: Story) -> None:
    """Whatever ran before runs after, also what has no restart policy."""
    assert sorted(story.after.lives) == sorted(story.before.lives) == sorted(hosts.WORKLOADS)


def test_memory_limits_in_the_kernel_are_the_planned_ones(story: Story) -> None:
    """Every container's control group has exactly the planned limit; who had one keeps it."""
    planned = _planned(story.plan, "/HostConfig/Memory")
    assert sorted(planned) == sorted(set(hosts.WORKLOADS) - {"limited"})
    assert story.after.memory == {**planned, "limited": 64 * 2**20}


def test_memory_limit_follows_the_peak(story: Story) -> None:
    """The limit of what once used 200 MB is above twice that, and not by much."""
    limit = _planned(story.plan, "/HostConfig/Memory")["database"]
    assert 400 * 2**20 <= limit <= 480 * 2**20


def test_task_limits_in_the_kernel_are_the_planned_ones(story: Story) -> None:
    """Every container's control group has exactly the planned number of tasks; who had one keeps it."""
    planned = _planned(story.plan, "/HostConfig/PidsLimit")
    assert story.after.pids == {**planned, "limited": 77}


def test_containers_with_limits_are_left_alone(story: Story) -> None:
    """No change is planned for a container that has all limits already."""
    assert [one for one in story.plan["changes"] if one["resource"] == "limited"] == []


def test_stopped_container_is_held_with_a_reason(story: Story) -> None:
    """There is no measured use of a stopped container: its limit is not guessed."""
    reason = hosts.held_reasons(story.plan)["container-memory", "stopped"]
    assert reason == "no measured use to derive a limit from: the container does not run"


def test_icc_takes_one_restart_without_live_restore(story: Story) -> None:
    """The bridge is made anew only where no container runs: this restart stops all, live-restore comes after."""
    kept = {name for name, life in story.before.lives.items() if story.after.lives[name] == life}
    assert (kept, story.before.daemon != story.after.daemon) == (set(), True)
    assert story.host.docker("info", "--format", "{{.LiveRestoreEnabled}}") == "true"


def test_plan_is_used_once(story: Story) -> None:
    """An applied plan is refused, and the run that used it is named."""
    assert f"applied already, by run {story.receipt['run']}" in story.again


@pytest.fixture(scope="module")
def twin(
    story: Story, shared_engines: Callable[..., PrivateEngine], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Seen, str, str]:
    """A second bad host, on which plain ansible-playbook ran the emitted playbook twice; what it said."""
    host = shared_engines(hosts.BAD_CONFIG, files=hosts.BAD_FILES)
    hosts.bad_host(host)
    folder = tmp_path_factory.mktemp("emitted") / "project"
    host.remediator("plan", *POLICY, "--emit", str(folder), code=2)
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    argv = (ansible, "-i", str(folder / "inventory.json"), str(folder / "playbook.yml"))
    first = host.run(*argv).stdout
    seen = see(host)
    return seen, first, host.run(*argv).stdout


def test_emitted_playbook_ends_in_the_same_state(story: Story, twin: tuple[Seen, str, str]) -> None:
    """Plain ansible-playbook on a like host leaves the documents that apply leaves."""
    assert twin[0].documents == story.after.documents


def test_emitted_playbook_changes_nothing_again(twin: tuple[Seen, str, str]) -> None:
    """A second run of the emitted playbook reports no change."""
    recap = twin[2].splitlines()[-1] if twin[2].strip() else ""
    assert "changed=0 " in twin[2], recap
    assert "failed=0 " in twin[2], recap


@pytest.fixture(scope="module")
def undone(story: Story) -> tuple[Any, Seen, list[Any]]:
    """The run taken back: the receipt, what the host looks like, and the history."""
    done = story.host.remediator("rollback", story.receipt["run"], "--format", "json")
    assert done.stdout, done.stderr
    history = hosts.document(story.host.remediator("history", "--format", "json", code=0))
    return hosts.document(done), see(story.host), history


def test_rollback_restores_files(story: Story, undone: tuple[Any, Seen, list[Any]]) -> None:
    """Every file has its bytes, mode and owner of before, and the file of rules is gone."""
    assert undone[1].files == story.before.files
    assert not story.host.path("/etc/audit/rules.d/50-docker.rules").exists()


def test_rollback_says_it_is_done(undone: tuple[Any, Seen, list[Any]]) -> None:
    """The rollback's receipt is a success that leaves nothing."""
    host = undone[0]["hosts"][0]
    assert (host["ok"], host.get("errors", []), host.get("left", [])) == (True, [], [])


def test_rollback_lifts_limits_as_far_as_the_engine_can(story: Story, undone: tuple[Any, Seen, list[Any]]) -> None:
    """Task limits are gone; memory limits, which the engine cannot take away, are as high as the host's memory."""
    whole = int(story.host.docker("info", "--format", "{{.MemTotal}}")) // 2**20 * 2**20
    assert undone[1].pids == {**dict.fromkeys(undone[1].pids), "limited": 77}
    assert undone[1].memory == {**dict.fromkeys(undone[1].memory, whole), "limited": 64 * 2**20}


def test_rollback_brings_containers_and_traffic_back(story: Story, undone: tuple[Any, Seen, list[Any]]) -> None:
    """The daemon runs with its old configuration: pings pass again, and all containers run."""
    assert undone[1].pings is True
    assert undone[1].daemon != story.after.daemon
    assert sorted(undone[1].lives) == sorted(story.before.lives)


def test_history_shows_both_runs(story: Story, undone: tuple[Any, Seen, list[Any]]) -> None:
    """The apply and its rollback stand in the history, the second naming the first."""
    assert [(one["kind"], one.get("undoes", "")) for one in undone[2]] == [
        ("apply", ""),
        ("rollback", story.receipt["run"]),
    ]
