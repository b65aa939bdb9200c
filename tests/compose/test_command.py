"""The command line on compose files: no host, no daemon, exit codes for CI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = (
    "services:\n  a:\n    image: x:1\n    user: '1000'\n    read_only: true\n    cpu_shares: 512\n    mem_limit: 64m\n"
    "    pids_limit: 10\n    security_opt: ['no-new-privileges:true']\n    healthcheck: {test: [CMD, x]}\n"
)


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program in a folder, with little around it."""
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run(
        [sys.executable, "-m", "remediator", *words], cwd=folder, env=environment, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


def test_audit_of_a_file_that_is_right(tmp_path: Path) -> None:
    """Nothing to do is 0."""
    (tmp_path / "c.yml").write_text(GOOD, encoding="utf-8")
    done = run(tmp_path, "audit", "--compose", "c.yml")
    assert (done.returncode, done.stderr) == (0, "")


def test_audit_of_files_that_override_and_extend_one_another(tmp_path: Path) -> None:
    """All files are read, .env and the environment count, and findings are 2."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/c.yml").write_text("services:\n  a: {extends: {file: base.yml, service: b}}\n", encoding="utf-8")
    (tmp_path / "sub/base.yml").write_text("services:\n  b:\n    image: x:${TAG}\n    pid: host\n", encoding="utf-8")
    (tmp_path / "sub/over.yml").write_text("services:\n  a:\n    privileged: ${PRIVILEGED}\n", encoding="utf-8")
    (tmp_path / "sub/.env").write_text("TAG=latest\nPRIVILEGED=false\n", encoding="utf-8")
    words = ("audit", "--compose", "sub/c.yml", "sub/over.yml", "--format", "json")
    done = run(tmp_path, *words, PRIVILEGED="true")
    assert done.returncode == 2, done.stderr
    document = json.loads(done.stdout)
    reasons = {one["control"]: one["reason"] for one in document["findings"] if one["resource"] == "sub/c.yml#a"}
    assert reasons["container-host-pid"] == 'sub/base.yml:4: is "host"'
    assert reasons["container-image-pinned"] == 'sub/base.yml:3: is "x:latest"'
    assert reasons["container-privileged"] == "sub/over.yml:3: is true"
    assert sum(document["counts"].values()) == len(document["findings"])


def test_plan_prints_a_diff_that_patch_takes(tmp_path: Path) -> None:
    """The diff is the fix; nothing is written by the program itself."""
    text = GOOD.replace("    read_only: true\n", "    pid: host\n") + "    privileged: true # no"
    (tmp_path / "c.yml").write_text(text, encoding="utf-8")
    done = run(tmp_path, "plan", "--compose", "c.yml", "--fix", "unsafe")
    assert done.returncode == 2, done.stderr
    assert (tmp_path / "c.yml").read_text(encoding="utf-8") == text
    subprocess.run(["patch", "-p0"], input=done.stdout, cwd=tmp_path, text=True, check=True, capture_output=True)
    assert run(tmp_path, "audit", "--compose", "c.yml").returncode == 0
    assert run(tmp_path, "plan", "--compose", "c.yml", "--fix", "unsafe").returncode == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("link.yml", "link.yml: is a symbolic link"),
        ("folder", "folder: is a directory"),
        ("pipe", "pipe: is no regular file"),
        ("gone.yml", "gone.yml: there is no such file"),
        ("latin.yml", "latin.yml: not UTF-8"),
        ("large.yml", "large.yml: larger than 2 MiB"),
        ("bad.yml", "bad.yml:1: not valid YAML"),
    ],
)
def test_bad_files_are_an_error_without_a_traceback(tmp_path: Path, name: str, told: str) -> None:
    """One line says what is wrong and where; the exit code is 1."""
    (tmp_path / "c.yml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "link.yml").symlink_to("c.yml")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin.yml").write_bytes(b"services: {a: {image: \xe9}}\n")
    (tmp_path / "large.yml").write_bytes(b"#" * 50_000_000)
    (tmp_path / "bad.yml").write_text("a: b: c\n", encoding="utf-8")
    done = run(tmp_path, "audit", "--compose", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_names_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """Escape sequences of a file are shown, not sent."""
    (tmp_path / "c.yml").write_text('services:\n  "a\\e[31m":\n    image: "x\\e]0;t\\a"\n', encoding="utf-8")
    for command in ("audit", "plan"):
        done = run(tmp_path, command, "--compose", "c.yml")
        assert "\x1b" not in done.stdout + done.stderr
