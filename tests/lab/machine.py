"""What this machine can and cannot do for a lab."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.lab import apt, cgroups, trees
from tests.lab.errors import LabError
from tests.lab.recipe import GENERATIONS
from tests.lab.state import labs

TOOLS = [
    "bash",
    "setpriv",
    "unshare",
    "nsenter",
    "ip",
    "mount",
    "umount",
    "mknod",
    "pivot_root",
    "hostname",
    "ssh",
    "ssh-keygen",
    "busybox",
]
CAP_SYS_RESOURCE = 24


def may_raise_limits() -> bool:
    """Whether CAP_SYS_RESOURCE is to be had here; runc wants it for privileged containers."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1)
    return False


@cache
def lab_unavailable_reason() -> str | None:
    """Why no lab can run here, or None where it can."""
    if os.geteuid() != 0:
        return "not root: a lab makes namespaces, mounts and cgroups"
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        return f"not installed: {', '.join(missing)} (tests/lab/PACKAGES names the packages)"
    if not cgroups.hierarchies():
        return "no cgroup hierarchy for systemd: neither version 2, nor version 1 with name=systemd"
    if unbuilt := [each.name for each in GENERATIONS.values() if not trees.path(each).is_dir()]:
        if not shutil.which("mmdebstrap") and not shutil.which("debootstrap"):
            return f"no root tree for {', '.join(unbuilt)}, and no mmdebstrap or debootstrap to build it"
        try:
            apt.mirror()
        except LabError as error:
            return f"no root tree for {', '.join(unbuilt)}: {error}"
    return _refused()


def _refused() -> str | None:
    """Try the two things that containers and odd file systems refuse: namespaces, and an overlay mount."""
    where = labs() if labs().is_dir() else labs().parent
    with tempfile.TemporaryDirectory(prefix=".rlab-try-", dir=where) as directory:
        for part in ("lower", "upper", "work", "root"):
            (Path(directory) / part).mkdir()
        layers = f"lowerdir={directory}/lower,upperdir={directory}/upper,workdir={directory}/work"
        spaces = ("unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--cgroup", "--fork")
        mount = ("mount", "-t", "overlay", "overlay", "-o", layers, f"{directory}/root")
        for what, argv in (("namespaces", ("true",)), ("an overlay mount", mount)):
            done = subprocess.run([*spaces, *argv], capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{what} refused in {where}: {done.stderr.strip()}"
    return None
