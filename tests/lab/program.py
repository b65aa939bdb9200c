"""The program as a user on the control machine runs it: in a process of its own, without this process's environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def remediator(state: Path, *words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end, in a folder, with its receipts in the directory `state`."""
    known = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "remediator", *map(str, words)],
        capture_output=True,
        text=True,
        env={**known, "LANG": "C.UTF-8", "REMEDIATOR_STATE": str(state)},
        cwd=folder,
        timeout=900,
        check=False,
    )
