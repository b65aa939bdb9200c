"""Make the examples anew: what this program says of the example host, with the baseline of this directory.

    python -m examples.regenerate [DIRECTORY]

The state is that of the host as if it ran: its files and recorded engine, and a daemon started by its unit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from examples import scratch
from remediator import kinds
from remediator.collect import local
from remediator.model import HostState

HERE = Path(__file__).parent
COLLECTED = datetime(2026, 6, 1, 3, 0, tzinfo=UTC)
STARTED = datetime(2026, 5, 4, 6, 12, 28, tzinfo=UTC)
ARGV = (
    "/usr/sbin/dockerd", "-H", "fd://", "-H", "tcp://0.0.0.0:2375",
    "--containerd=/run/containerd/containerd.sock", "--log-level=debug",
)  # fmt: skip
POLICY = ("--fix", "unsafe", "--max-disruption", "restart")
MADE = ("audit.txt", "plan.txt", "plan")


def state() -> HostState:
    """The state of the example host as if it ran, collected at a fixed time."""
    with tempfile.TemporaryDirectory() as folder:
        evidence = local.collect(kinds.request(), str(scratch.make(Path(folder) / "host")))
    evidence.update(
        root="/",
        collected_at=COLLECTED.strftime("%Y-%m-%dT%H:%M:%SZ"),
        daemon={"pid": 612, "argv": list(ARGV), "started": STARTED.timestamp()},
    )
    evidence["about"].update(init="systemd", cli="20.10.24", kernel="6.1.0-21-amd64")
    evidence["engine"].pop("recorded")
    return kinds.state(evidence)


def _remediator(*arguments: str) -> bytes:
    """The output of one command, run where the examples are, at the fixed time."""
    done = subprocess.run(
        [sys.executable, "-m", "remediator", *arguments],
        stdout=subprocess.PIPE,
        check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(int(COLLECTED.timestamp()))},
    )
    if done.returncode not in (0, 2):
        raise SystemExit(f"remediator {' '.join(arguments)}: exit code {done.returncode}")
    return done.stdout


def regenerate(target: Path) -> None:
    """Write all examples into a directory; those that are there are replaced."""
    for name in MADE:
        path = target / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        collected = Path(folder) / "state.json"
        collected.write_bytes(msgspec.json.encode(state()))
        chosen = ("--state", str(collected), "--baseline", str(HERE / "baseline.yaml"))
        (target / "audit.txt").write_bytes(_remediator("audit", *chosen))
        emitted = ("--emit", str(target / "plan"))
        (target / "plan.txt").write_bytes(_remediator("plan", *chosen, *POLICY, *emitted))


if __name__ == "__main__":
    regenerate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
