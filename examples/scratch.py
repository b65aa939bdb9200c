"""A scratch copy of the example host, to look at and to change.

git keeps neither bad modes nor empty directories, so both are made here. Times are fixed.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

HOST = Path(__file__).with_name("host")
WRITTEN = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)

BAD_MODES = {
    "etc/docker": 0o777,
    "etc/docker/daemon.json": 0o666,
    "etc/default/docker": 0o664,
    "usr/lib/systemd/system/docker.service": 0o664,
    "usr/lib/systemd/system/docker.socket": 0o646,
}
EMPTY = ("var/lib/docker", "run")


def make(target: Path) -> Path:
    """Copy the example host into a new directory; the path of its file tree."""
    shutil.copytree(HOST, target, symlinks=True)
    root = target / "rootfs"
    for name in EMPTY:
        (root / name).mkdir(parents=True)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    for name, mode in BAD_MODES.items():
        (root / name).chmod(mode)
    for path in [*target.rglob("*"), target]:
        os.utime(path, (WRITTEN.timestamp(), WRITTEN.timestamp()))
    return root
