"""The guard on file trees: what it keeps and gives back, at whatever point it or somebody else is cut off."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from remediator import guard
from remediator.guard import files, limits, rescue, restore, store, switch
from remediator.guard.__main__ import main
from remediator.guard.begin import begin
from remediator.guard.engine import Engine
from remediator.guard.store import Store

CHANGES: Final = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.utime", "os.chown"}


def here() -> str:
    """The id of this machine; "" without one."""
    known = Path("/etc/machine-id")
    return known.read_text(encoding="ascii").strip() if known.exists() else ""


def digest(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


class Tree:
    """A file tree with a file to edit, one with a secret, and one to make in directories that are not there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.state = self.root / "var/lib/remediator"
        self.config, self.secret = self.root / "etc/docker/daemon.json", self.root / "etc/environment"
        self.new = self.root / "etc/audit/rules.d/50.rules"
        self.config.parent.mkdir(parents=True)
        self.config.write_text('{"icc": true}')
        self.config.chmod(0o640)
        os.utime(self.config, ns=(10**18, 10**18))
        self.secret.write_text("TOKEN=hunter2\n")
        self.secret.chmod(0o664)
        self.was = self.look()
        planned = [self.edit(self.config, '{"icc": true}', '{"icc": false}'), self.edit(self.new, None, "-w /etc\n")]
        masked = self.edit(self.secret, "TOKEN=hunter2\n", None)
        masked.update(masked=True, pieces=[[0, 14], "TRUST=1\n"], inverse=[[0, 14]])
        self.files = [dict(one, index=index) for index, one in enumerate([*planned, masked])]

    def edit(self, path: Path, before: str | None, after: str | None) -> dict[str, Any]:
        """An edit as the playbook's variables have it."""
        return {
            "path": str(path), "before": "" if before is None else digest(before), "after": digest(after or ""),
            "source": "", "mode": "0640", "masked": False, "pieces": [], "inverse": [],
            "content": base64.b64encode((after or "").encode()).decode(),
        }  # fmt: skip

    def request(self, **more: Any) -> dict[str, Any]:
        """A request that changes nothing but files."""
        activation = {
            "action": "none", "config": str(self.config), "docker": ["false"], "systemd": False, "expect": [],
            "sources": [], "manager": False, "validate": [], "reload_units": False,
            "deferred": [], "started": 0, "pending": [],
            "defaults": {}, "reload_first": False, "stop": [], "start": [], "awaited": False, "seen": 0,
        }  # fmt: skip
        return {
            "plan": "p" * 64, "machine": "", "expires": 0, "run": "run",
            "control": "c", "limit": 60, "proof": 5, "root": str(self.root),
            "state": str(self.state), "files": self.files, "unchanged": {}, "load_audit_rules": False, "updates": [],
            "attributes": [{"path": str(self.secret), "mode": "0600", "owner": "", "socket": False}],
            "activation": activation, "recreates": [], "checks": [], **more,
        }  # fmt: skip

    def look(self) -> dict[str, Any]:
        """All of etc: bytes, modes, and times of files."""
        found: dict[str, Any] = {}
        for path in sorted((self.root / "etc").rglob("*")):
            info = path.lstat()
            data = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (info.st_mode, data, info.st_mtime_ns if path.is_file() else 0)
        return found

    def begin(self, **more: Any) -> dict[str, Any]:
        """Open a run, or take it up."""
        answer: dict[str, Any] = begin({"request": self.request(**more), "check": False, "guard": guard.source()})
        return answer

    def write(self, answer: dict[str, Any]) -> None:
        """What the playbook does between begin and activate."""
        for one in answer["files"]:
            if one["state"] != "before":
                continue
            if one["apart"]:
                assert self.run("place", answer["run"], str(one["index"])) == 0
            else:
                shutil.copy(self.state / "guard" / answer["run"] / "new" / str(one["index"]), one["path"])
                Path(one["path"]).chmod(int(one["mode"], 8))
        self.secret.chmod(0o600)

    def apply(self) -> None:
        """All of an apply."""
        answer = self.begin()
        self.write(answer)
        assert self.run("activate", "run") == 0
        assert self.run("confirm", "run") == 0

    def run(self, *words: str) -> int:
        """Call the guard as the playbook does, but in this process."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            result = main(list(words), home=str(self.state / "guard"))
        self.said, self.told = out.getvalue(), err.getvalue()
        return result

    @property
    def open(self) -> Any:
        """The open run."""
        return Store(str(self.state / "guard")).current()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def cut_off(do: Callable[[], Any], after: int) -> bool:
    """Do something in a process that ends without a word at its n-th change of the file system; whether it did end so.

    As kill -9 and a cut of the power do, but at every point in turn.
    """
    pid = os.fork()
    if not pid:
        left = [after]

        def hook(event: str, words: tuple[Any, ...]) -> None:
            writes = event == "open" and isinstance(words[2], int) and words[2] & (os.O_WRONLY | os.O_RDWR)
            if writes or event in CHANGES:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(99)

        sys.addaudithook(hook)
        try:
            do()
        except files.GuardError:
            os._exit(1)
        except BaseException:
            os._exit(2)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 1, 99), code
    return code == 99


# --- the one file -----------------------------------------------------------------------------------


def test_the_guard_is_one_file_of_python_3_8() -> None:
    """It needs nothing but the standard library, and no name is defined by two of its modules."""
    found = ast.parse(guard.source(), feature_version=(3, 8))
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(found)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in ([ast.alias(node.module or "")] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert imported - sys.stdlib_module_names == set()
    defined: Counter[str] = Counter()
    for node in found.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined[node.name] += 1
        elif isinstance(node, ast.Assign):
            defined.update(target.id for target in node.targets if isinstance(target, ast.Name))
    assert [name for name, times in defined.items() if times > 1] == []


def test_every_module_of_the_guard_travels() -> None:
    """A module that is there is part of the one file."""
    folder = Path(str(guard.__file__)).parent
    assert set(guard.MODULES) == {path.stem for path in folder.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_the_guard_runs_with_an_old_python(tree: Tree, version: str) -> None:
    """Begin and undo, by the python of an old host, where there is one."""
    known = Path.home() / ".pyenv/versions"
    python = next((str(one / "bin/python3") for one in sorted(known.glob(f"{version}.*"))), f"python{version}")
    try:
        subprocess.run([python, "-V"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"no python {version} on this machine")
    first = "import json, sys; given = json.load(sys.stdin); exec(compile(given['guard'], 'guard.py', 'exec'))"
    given = json.dumps({"request": tree.request(), "check": False, "guard": guard.source()})
    done = subprocess.run([python, "-c", first, "begin"], input=given, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["run"] == "run"
    own = str(tree.state / "guard/guard.py")
    done = subprocess.run([python, own, "place", "run", "1"], capture_output=True, text=True, check=True)
    done = subprocess.run([python, own, "undo", "run", "because"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["reason"] == "because"
    assert tree.was == tree.look()


def test_a_run_that_was_confirmed_unheard_is_named(tree: Tree) -> None:
    """The control machine may have died before it heard: it hears by which run the host is as planned."""
    assert tree.begin()["confirmed"] == ""
    tree.run("undo", "run")
    tree.apply()
    again = tree.begin()
    assert (again["needed"], again["run"], again["confirmed"]) == (False, "", "run")
    assert tree.begin(run="")["confirmed"] == ""


def test_a_copy_that_failed_leaves_nothing(tree: Tree) -> None:
    """What ansible's copy had begun to write is removed, and what was called so before is not."""
    (tree.config.parent / "tmpabcdefgh").write_text("somebody's")
    tree.was = tree.look()
    tree.begin()
    (tree.config.parent / "tmpq1jplb_x").write_text("half")
    assert tree.run("undo", "run") == 0
    assert tree.look() == tree.was


def test_a_program_that_refuses_edited_files_takes_the_run_back(tree: Tree) -> None:
    """It is asked before anything takes effect; one that refused the old ones already is not asked again."""
    old = ["grep", "-q", "true", str(tree.config)]
    request = {"checks": [{"label": "shop", "words": old, "files": [str(tree.config)]}]}
    answer = tree.begin(**request)
    assert answer["told"] == ["check the files of shop"]
    tree.write(answer)
    assert tree.run("activate", "run") == 1
    assert "shop: its files are refused" in tree.told
    assert tree.look() == tree.was

    request["checks"][0]["words"] = ["grep", "-q", "false", str(tree.config)]
    tree.write(tree.begin(**request))
    assert (tree.run("activate", "run"), tree.run("confirm", "run")) == (0, 0)
    assert tree.config.read_text() == '{"icc": false}'


# --- there and back ---------------------------------------------------------------------------------


def test_what_was_changed_is_given_back_byte_for_byte(tree: Tree) -> None:
    """With modes and times, and without the directories that were made."""
    tree.apply()
    assert tree.secret.read_text() == "TOKEN=hunter2\nTRUST=1\n"
    assert tree.new.read_text() == "-w /etc\n"
    assert tree.open is None
    assert tree.run("undo", "run") == 0
    assert tree.was == tree.look()
    assert tree.open is None


def test_a_begin_that_is_cut_off_changes_nothing_and_blocks_nobody(tree: Tree) -> None:
    """At whatever point: the same plan and another one can begin, and the host is what it was."""
    points = 0
    while cut_off(tree.begin, points):
        points += 1
        assert {path for path in tree.look() if "rules" not in path and "audit" not in path} == set(tree.was)
        other = points % 2
        answer = tree.begin(plan="q" * 64, run="other") if other else tree.begin()
        assert answer["run"] == ("other" if other else "run")
        assert tree.run("undo", answer["run"]) == 0
        assert tree.was == tree.look()
        shutil.rmtree(tree.state)
    assert points > 20


def test_a_way_back_that_is_cut_off_is_gone_on_with(tree: Tree) -> None:
    """At whatever point, of an open run and of a confirmed one: the next who comes finishes it."""
    for confirmed in (False, True):
        points = 0
        while True:
            shutil.rmtree(tree.state, ignore_errors=True)
            answer = tree.begin()
            tree.write(answer)
            if confirmed:
                assert tree.run("activate", "run") == tree.run("confirm", "run") == 0
            if not cut_off(lambda: tree.run("undo", "run"), points):
                break
            points += 1
            if points % 3 == 0 or not tree.open:
                assert tree.run("undo", "run") == 0, tree.told
            elif points % 3 == 1:
                tree.run("boot")
            else:
                assert tree.begin()["run"] == "run"
                assert tree.run("undo", "run") == 0, tree.told
            assert tree.was == tree.look(), points
            assert tree.open is None
        assert points > 15
        assert tree.was == tree.look()


def test_a_confirmation_that_is_cut_off_is_one_or_none(tree: Tree) -> None:
    """What the host then does by itself leaves it wholly as planned, or wholly as it was."""
    points, ends = 0, set()
    while True:
        shutil.rmtree(tree.state, ignore_errors=True)
        tree.write(tree.begin())
        planned = {path: one[:2] for path, one in tree.look().items()}
        if not cut_off(lambda: tree.run("confirm", "run"), points):
            break
        points += 1
        tree.run("boot")
        now = {path: one[:2] for path, one in tree.look().items()}
        assert tree.open is None
        assert now == planned or tree.look() == tree.was
        ends.add(now == planned)
        tree.run("undo", "run")
        assert tree.look() == tree.was
    assert ends == {True, False}


def test_a_run_is_taken_up_where_it_was_cut_off(tree: Tree) -> None:
    """The same plan again finds what is done, and finishes; what it gives back is what was there at first."""
    answer = tree.begin()
    tree.config.write_text('{"icc": false}')
    again = tree.begin()
    assert {one["path"]: one["state"] for one in again["files"]}[str(tree.config)] == "after"
    assert again["run"] == answer["run"]
    tree.write(again)
    assert tree.run("confirm", "run") == 0
    assert tree.run("undo", "run") == 0
    assert tree.was == tree.look()


def test_what_somebody_writes_who_does_not_know_of_the_way_back_is_taken_back_too(tree: Tree) -> None:
    """A control machine that comes back after the dead-man's switch goes on writing, and then asks for an undo."""
    tree.begin()
    assert tree.run("undo", "run", "late") == 0
    tree.config.write_text('{"icc": false}')
    tree.secret.chmod(0o600)
    assert tree.run("activate", "run") == 1
    assert "was taken back: late" in tree.told
    assert tree.run("undo", "run", "it failed") == 0
    assert json.loads(tree.said)["reason"] == "late"
    assert tree.was == tree.look()


def test_an_old_run_is_not_taken_back_again_under_a_newer_one(tree: Tree) -> None:
    """Its new text may be what the newer one wrote."""
    tree.begin()
    assert tree.run("undo", "run") == 0
    tree.write(tree.begin(run="newer"))
    assert tree.run("confirm", "newer") == 0
    assert tree.run("undo", "run") == 0
    assert tree.config.read_text() == '{"icc": false}'


def test_what_somebody_else_changed_since_is_left(tree: Tree) -> None:
    """And told; the rest goes back."""
    tree.apply()
    tree.config.write_text("mine")
    assert tree.run("undo", "run") == 0
    assert json.loads(tree.said)["left"] == [f"{tree.config}: was changed by someone else after the run"]
    assert tree.config.read_text() == "mine"
    assert tree.secret.read_text() == "TOKEN=hunter2\n"


def test_backups_are_kept_by_number_and_age(tree: Tree) -> None:
    """When a run begins: the newest are kept, and none that is old; the open run in any case."""
    home = tree.state / "guard"
    home.mkdir(parents=True, mode=0o700)
    for number in range(30):
        (home / f"20260101T0000{number:02}Z-old").mkdir()
    aged = home / "20260101T000029Z-old"
    os.utime(aged, (1, 1))
    tree.begin(run="20260101T000030Z-new")
    kept = sorted(one.name for one in home.iterdir() if one.is_dir())
    assert kept == [f"20260101T0000{number}Z-old" for number in range(11, 29)] + ["20260101T000030Z-new"]


def test_a_mode_that_somebody_gave_an_edited_file_stays(tree: Tree) -> None:
    """Its bytes go back all the same."""
    tree.apply()
    tree.config.chmod(0o600)
    assert tree.run("undo", "run") == 0
    assert json.loads(tree.said)["left"] == [
        f"mode and owner of {tree.config}: were changed by someone else after the run"
    ]
    assert (tree.config.read_text(), tree.config.stat().st_mode & 0o777) == ('{"icc": true}', 0o600)


def test_a_file_that_the_power_cut_left_empty_is_given_back(tree: Tree) -> None:
    """Its new text was not on disk yet; nobody else writes nothing into it."""
    tree.begin()
    tree.config.write_text("")
    assert tree.run("boot") == 0
    assert tree.was == tree.look()


def test_another_control_machine_waits_until_the_time_is_over(tree: Tree) -> None:
    """And then takes the dead one's run back before its own."""
    tree.begin()
    tree.config.write_text('{"icc": false}')
    with pytest.raises(files.GuardError, match="run run is changing this host"):
        tree.begin(control="other", plan="q" * 64, run="other")
    held = Store(str(tree.state / "guard"))
    held.open(dict(held.current(), deadline=0.0))
    answer = tree.begin(control="other", plan="q" * 64, run="other")
    assert [one["state"] for one in answer["files"]] == ["before"] * 3


def test_no_older_run_is_taken_back_under_an_open_one(tree: Tree) -> None:
    """The open one keeps what it found as how the host was."""
    tree.apply()
    tree.config.write_text('{"icc": true}')
    tree.begin(plan="q" * 64, run="other")
    assert tree.run("undo", "run") == 1
    assert "run other is open" in tree.told


def test_the_time_is_over_with_a_boot_and_does_not_hang_on_the_clock() -> None:
    """It is counted since the boot, whose id is kept."""
    known = {"boot": store.boot_id(), "deadline": store.uptime() + 50}
    assert 49 < store.seconds_left(known) <= 50
    assert store.seconds_left({**known, "boot": "another"}) == 0
    assert store.seconds_left({**known, "undo": "it failed"}) == 0


def test_a_guard_waits_and_then_takes_back(tree: Tree) -> None:
    """As it does where there is no systemd."""
    tree.begin(limit=1)
    tree.config.write_text('{"icc": false}')
    assert tree.run("expire", "run") == 0
    assert tree.was == tree.look()
    assert Store(str(tree.state / "guard")).run("run").result["reason"] == "it was not confirmed within 1 seconds"


def test_two_guards_do_not_work_at_once_and_the_dead_hold_no_lock(tree: Tree) -> None:
    """The lock is the kernel's."""
    tree.begin()
    held = Store(str(tree.state / "guard"))
    pid = os.fork()
    if not pid:
        with held.locked():
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with held.locked(0.1):
        other = os.open(str(tree.state / "guard/lock"), os.O_RDWR)
        os.close(other)
        with pytest.raises(files.GuardError, match="another run"), held.locked(0.1):
            pass


# --- a directory that is not the guard's ------------------------------------------------------------


def test_a_linked_directory_is_refused_and_not_followed(tree: Tree) -> None:
    """Whoever made the link chooses where root writes."""
    elsewhere = tree.root / "elsewhere"
    elsewhere.mkdir()
    tree.state.parent.mkdir(parents=True)
    tree.state.symlink_to(elsewhere)
    with pytest.raises(files.GuardError, match="its owner alone"):
        tree.begin()
    assert list(elsewhere.iterdir()) == []
    assert tree.was == tree.look()


def test_a_directory_that_others_can_write_to_is_refused(tree: Tree) -> None:
    """They could exchange what root runs."""
    tree.state.mkdir(parents=True)
    tree.state.chmod(0o777)
    with pytest.raises(files.GuardError, match="its owner alone"):
        tree.begin()


def test_a_name_is_no_path(tree: Tree) -> None:
    """Runs are named by others."""
    tree.begin()
    for name in ("../guard", ".", "", "/etc"):
        assert tree.run("undo", name) == 1


def test_backups_are_for_root_alone(tree: Tree) -> None:
    """Files 0600 in directories 0700."""
    tree.apply()
    for path in tree.state.rglob("*"):
        wanted = 0o700 if path.is_dir() or path.name == "guard.py" else 0o600
        assert path.stat().st_mode & 0o777 == wanted, path


# --- the daemon -------------------------------------------------------------------------------------


def test_a_limit_that_cannot_be_lifted_counts_as_given_back() -> None:
    """A second way back does not take what the first one set for somebody else's."""
    gib = 2**30
    for key, was in (("Memory", 0), ("MemorySwap", 0), ("PidsLimit", None), ("CpuShares", 0), ("Memory", 2**28)):
        given = limits.settable(key, was, gib)
        assert limits._is_back(key, given, was, gib)
        assert limits._is_back(key, was, was, gib)
    assert not limits._is_back("Memory", 2**28, 0, gib)


def test_the_last_resort_starts_just_what_ran() -> None:
    """Its words are none of systemd's: no variable, no specifier, no quote of its own."""
    words = ["/usr/sbin/dockerd", "-H", "fd://", "--config-file", "/x", "--config-file=/y", '--label=a=%h $B "c\\']
    kept = rescue._without_config(words)
    assert kept == ["/usr/sbin/dockerd", "-H", "fd://", '--label=a=%h $B "c\\']
    text = rescue._unit(kept)
    assert 'ExecStart="/usr/sbin/dockerd" "-H" "fd://" "--label=a=%%h $$B \\"c\\\\"\n' in text
    assert rescue.flagged(["dockerd", "--label=a=b"], "labels")
    assert rescue.flagged(["dockerd", "--data-root", "/x"], "data-root")
    assert not rescue.flagged(["dockerd", "--data-root-x=1"], "data-root")


class FakeDocker:
    """A docker command that keeps its answers in a folder: one file per first word, and an exit code."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "docker"
        self.folder = folder
        self.path.write_text(
            '#!/bin/sh\ncat "$(dirname "$0")/$1.out" 2>/dev/null\ncat "$(dirname "$0")/$1.err" >&2 2>/dev/null\n'
            'exit "$(cat "$(dirname "$0")/$1.code" 2>/dev/null || echo 0)"\n'
        )
        self.path.chmod(0o755)

    def answer(self, word: str, out: str = "", err: str = "", code: int = 0) -> None:
        """What a command says from now on."""
        for ending, text in (("out", out), ("err", err), ("code", str(code))):
            (self.folder / f"{word}.{ending}").write_text(text)


def test_an_engine_that_does_not_say_is_not_one_without_containers(tmp_path: Path, tree: Tree) -> None:
    """A proof that finds no container to miss would prove nothing."""
    request = tree.request()
    fake = FakeDocker(tmp_path)
    request["activation"]["docker"] = [str(fake.path)]
    engine = Engine(request)
    fake.answer("ps", err="Cannot connect to the Docker daemon", code=1)
    with pytest.raises(files.GuardError, match="Cannot connect"):
        engine.containers()
    fake.answer("inspect", out="[]", err="Error: No such container: a\n", code=1)
    assert engine.containers(["a"]) == {}
    fake.answer("inspect", out="[]", err="Cannot connect to the Docker daemon\n", code=1)
    with pytest.raises(files.GuardError, match="Cannot connect"):
        engine.containers(["a"])


def test_a_run_does_not_begin_while_the_engine_does_not_answer(tmp_path: Path, tree: Tree) -> None:
    """What it is like before would not be known."""
    fake = FakeDocker(tmp_path)
    fake.answer("info", code=1)
    fake.answer("inspect", out="[]")
    request = tree.request()
    request["activation"].update(action="reload", docker=[str(fake.path)])
    with pytest.raises(files.GuardError, match="does not answer"):
        begin({"request": request, "check": False, "guard": guard.source()})
    assert tree.was == tree.look()
    assert tree.open is None


def deferring(tmp_path: Path, tree: Tree, **more: Any) -> dict[str, Any]:
    """A request that leaves icc pending, of an engine that answers."""
    fake = FakeDocker(tmp_path)
    fake.answer("info", out='{"ID": "x"}')
    fake.answer("network", out="[{}]")
    request = tree.request()
    deferred = {"deferred": [{"key": "icc"}], "started": 5.0, "pending": ["icc"]}
    request["activation"].update(docker=[str(fake.path)], **deferred, **more)
    return request


def test_a_run_that_only_defers_writes_down_what_is_pending(tmp_path: Path, tree: Tree) -> None:
    """Nothing else tells it of keys that the engine does not show; the way back takes it away again."""
    request = deferring(tmp_path, tree)
    answer = begin({"request": request, "check": False, "guard": guard.source()})
    assert answer["told"] == ["leave icc pending until the daemon is started later"]
    tree.write(answer)
    assert tree.run("activate", "run") == 0, tree.told
    assert tree.run("confirm", "run") == 0, tree.told
    record = json.loads((tree.state / "activation.json").read_text())
    assert record == {"sha256": digest('{"icc": false}'), "started": 5.0, "pending": ["icc"]}
    again = begin({"request": request, "check": False, "guard": guard.source()})
    assert (again["needed"], again["told"]) == (False, [])
    assert tree.run("undo", "run") == 0
    assert tree.was == tree.look()
    assert not (tree.state / "activation.json").exists()


def test_what_is_deferred_is_tried_before_it_is_written(tmp_path: Path, tree: Tree) -> None:
    """The next start is with it, whoever begins it."""
    request = deferring(tmp_path, tree, validate=["false", "CANDIDATE"])
    with pytest.raises(files.GuardError, match="the engine refuses the configuration"):
        begin({"request": request, "check": False, "guard": guard.source()})
    profile = tmp_path / "profile.json"
    profile.write_text("no profile")
    text = json.dumps({"seccomp-profile": str(profile)})
    request = deferring(tmp_path, tree)
    request["files"] = [dict(tree.edit(tree.config, '{"icc": true}', text), index=0)]
    with pytest.raises(files.GuardError, match="is no seccomp profile"):
        begin({"request": request, "check": False, "guard": guard.source()})
    assert tree.was == tree.look()
    assert tree.open is None


def test_defaults_that_were_written_for_a_reload_are_the_runs_own(tree: Tree) -> None:
    """A way back that was cut off between them and the old text restores the old text."""
    tree.begin()
    run = Store(str(tree.state / "guard")).run("run")
    tree.config.write_text('{"icc": true, "live-restore": false}')
    entry = next(one for one in run.before["files"] if one["path"] == str(tree.config))
    assert not restore.ours(run, entry)
    run.note("defaults", "will", sha256=digest(tree.config.read_text()))
    assert restore.ours(run, entry)
    assert tree.run("undo", "run") == 0
    assert tree.was == tree.look()


def test_a_file_tree_is_not_on_systemd() -> None:
    """Nothing runs there that could be armed."""
    assert not switch.on_systemd("/srv/image")


# --- a boot of a host without systemd ---------------------------------------------------------------


@pytest.fixture
def boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Where this host's cron and OpenRC look, neither of which it has, nor systemd."""
    job, script = tmp_path / "etc/cron.d/remediator-guard", tmp_path / "etc/local.d/remediator-guard.start"
    monkeypatch.setattr(switch, "CRON_FILE", str(job))
    monkeypatch.setattr(switch, "LOCAL_FILE", str(script))
    monkeypatch.setattr(switch, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(switch, "on_systemd", lambda _: False)
    none = SimpleNamespace(DEVNULL=subprocess.DEVNULL, Popen=lambda *_, **__: None)
    monkeypatch.setattr(switch, "subprocess", none)  # the process that waits would look at the machine's own files
    return job, script


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A guard in a directory that a shell and cron would take to pieces, and that writes that it was called."""
    program = tmp_path / "100% 'my $guard'"
    program.write_text('#!/bin/sh\necho "$1" "$2" >"$(dirname "$0")/called"\n')
    program.chmod(0o755)
    return [str(program), "x y"]


def test_cron_starts_the_guard_at_boot(boots: tuple[Path, Path], words: list[str], tmp_path: Path) -> None:
    """Its line is one for cron, whose % ends it, and for the shell."""
    boots[0].parent.mkdir(parents=True)
    assert switch._boot_files(words)
    shell, path, job = boots[0].read_text().splitlines()
    assert shell == "SHELL=/bin/sh"
    assert path.startswith("PATH=/usr/local/sbin:")
    assert "%" not in job.replace("\\%", "")
    command = job.removeprefix("@reboot root ").replace("\\%", "%")  # as cron does
    subprocess.run(["/bin/sh", "-c", command], check=True)
    assert (tmp_path / "called").read_text() == "x y boot\n"
    assert boots[0].stat().st_mode & 0o777 == 0o644
    assert not boots[1].parent.exists()


def test_openrc_starts_the_guard_at_boot(boots: tuple[Path, Path], words: list[str], tmp_path: Path) -> None:
    """In the background: it may take its time, and local waits for what it starts."""
    boots[1].parent.mkdir(parents=True)
    assert switch._boot_files(words)
    subprocess.run([boots[1]], check=True)
    deadline = time.monotonic() + 10
    while not (tmp_path / "called").exists() or not (tmp_path / "called").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (tmp_path / "called").read_text() == "x y boot\n"
    assert boots[1].stat().st_mode & 0o777 == 0o755
    assert not boots[0].parent.exists()


def test_what_starts_the_guard_at_boot_goes_with_the_run(tree: Tree, boots: tuple[Path, Path]) -> None:
    """It stands as long as the run is open."""
    for file in boots:
        file.parent.mkdir(parents=True)
    tree.begin(root="/", machine=here())
    assert all(file.exists() for file in boots)
    assert tree.run("confirm", "run") == 1  # nothing was written
    assert [list(file.parent.iterdir()) for file in boots] == [[], []]
    assert tree.was == tree.look()


def test_nothing_is_changed_where_a_boot_cannot_be_armed(
    tree: Tree, boots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full, or read-only."""
    write = files.write_file

    def full(path: str, data: bytes, mode: int = 0o600) -> None:
        if path == str(boots[1]):
            raise OSError(28, "No space left on device", path)
        write(path, data, mode)

    monkeypatch.setattr(switch, "write_file", full)
    for file in boots:
        file.parent.mkdir(parents=True)
    with pytest.raises(files.GuardError, match="Nothing was changed: the dead-man's switch cannot be armed"):
        tree.begin(root="/", machine=here())
    assert tree.open is None
    assert [list(file.parent.iterdir()) for file in boots] == [[], []]
    assert tree.was == tree.look()


def test_a_write_that_fails_says_of_which_file(tmp_path: Path) -> None:
    """A limit of the kernel's stands for a full disk; nothing stays of what was begun."""
    run = store.Run(str(tmp_path), "run")
    run.note("begin", "will")
    journal = tmp_path / "journal.jsonl"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size, hard))
    try:
        with pytest.raises(OSError, match=str(journal)):
            run.note("begin", "did")
        with pytest.raises(OSError, match=str(tmp_path / "kept")):
            files.write_file(str(tmp_path / "kept"), b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [one["state"] for one in run.journal()] == ["will"]
    assert list(tmp_path.iterdir()) == [journal]


def test_a_host_on_which_a_boot_ends_the_switch_says_so(tree: Tree, boots: tuple[Path, Path]) -> None:
    """In the journal; it is changed all the same, and makes no directory for a cron that it has not."""
    tree.begin(root="/", machine=here())
    journal = Store(str(tree.state / "guard")).run("run").journal()
    assert [one["left"] for one in journal if one["step"] == "arm"] == [
        "a boot ends the switch: there is neither /etc/cron.d nor /etc/local.d"
    ]
    assert not any(file.parent.exists() for file in boots)
