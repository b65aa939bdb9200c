"""The program as a user on the control machine runs it: in a process of its own, without this process's environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.lab import processes


def remediator(state: Path, *words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end, in a folder, with its receipts in the directory `state`."""
    return subprocess.run(
        [sys.executable, "-m", "remediator", *map(str, words)],
        capture_output=True,
        text=True,
        env=_environment(state),
        cwd=folder,
        timeout=900,
        check=False,
    )


def cut_off(state: Path, task: str, *words: str | Path, folder: Path, later: float = 0.0) -> None:
    """Run it, and kill -9 it with all below it once ansible has begun a task, and so many seconds are over."""
    log = folder / "ansible.log"
    log.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "remediator", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**_environment(state), "ANSIBLE_LOG_PATH": str(log)},
        cwd=folder,
        start_new_session=True,
    )
    begun = processes.until(lambda: log.exists() and f"TASK [{task}" in log.read_text(), 120)
    time.sleep(later)
    processes.kill(processes.descendants(process.pid))
    process.wait()
    assert begun, f"{task} was not begun"


def _environment(state: Path) -> dict[str, str]:
    known = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    temporary = state.parent / "tmp"  # one that is killed leaves its files
    temporary.mkdir(parents=True, exist_ok=True)
    return {**known, "LANG": "C.UTF-8", "TMPDIR": str(temporary), "REMEDIATOR_STATE": str(state)}
