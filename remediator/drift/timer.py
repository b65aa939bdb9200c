"""A systemd service and timer that look for drift: written, enabled, removed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from ..errors import ApplyError, InputError

UNITS: Final = Path("/etc/systemd/system")
SERVICE: Final = "remediator-drift.service"
TIMER: Final = "remediator-drift.timer"


def _word(text: str) -> str:
    """A word of a unit's command line: quoted, with % and $ standing for themselves."""
    if any(not one.isprintable() for one in text):
        raise InputError(f"{text!r} cannot be written into a unit")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def command() -> list[str]:
    """How this program is started, without relying on PATH."""
    script = Path(sys.executable).parent / "remediator"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "remediator"]


def units(every: str, arguments: list[str]) -> dict[str, str]:
    """The texts of service and timer; `every` is a time span of systemd such as 15m or 2h.

    Raises InputError for one that is no time span.
    """
    if not re.fullmatch(r"(\d+(s|sec|m|min|h|hr|d|w)? ?)+", every):
        raise InputError(f"--every {every}: not a time span", "such as 90s, 15m, 2h or 1d")
    line = " ".join(_word(one) for one in [*command(), "drift", "--once", *arguments])
    service = f"""[Unit]
Description=Look for drift from the hardened baseline
Documentation=man:systemd.timer(5)
After=docker.service

[Service]
Type=oneshot
ExecStart={line}
# 2 says that something drifted or was corrected
SuccessExitStatus=2
Nice=10
"""
    timer = f"""[Unit]
Description=Look for drift every {every}

[Timer]
OnActiveSec={every}
OnUnitActiveSec={every}
RandomizedDelaySec=10%
AccuracySec=1s
Persistent=true

[Install]
WantedBy=timers.target
"""
    return {SERVICE: service, TIMER: timer.replace("RandomizedDelaySec=10%\n", "")}


def _systemctl(*words: str, check: bool = True) -> str:
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApplyError(f"systemctl {' '.join(words)}: {error}") from error
    if check and done.returncode:
        raise ApplyError(f"systemctl {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def _needs_systemd() -> None:
    if not Path("/run/systemd/system").is_dir():
        raise ApplyError("this host is not run by systemd", "run `remediator drift --once` from its own scheduler")
    if os.geteuid() != 0:
        raise ApplyError("changing this host needs root", "run it with sudo")


def install(every: str, arguments: list[str]) -> list[Path]:
    """Write and enable the units; returns their paths. Raises ApplyError without systemd or root."""
    texts = units(every, arguments)
    _needs_systemd()
    paths = []
    for name, text in texts.items():
        new = UNITS / f".{name}.new"
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        new.replace(UNITS / name)
        paths.append(UNITS / name)
    _systemctl("daemon-reload")
    _systemctl("enable", TIMER)
    _systemctl("restart", TIMER)
    return paths


def uninstall() -> list[Path]:
    """Stop, disable and remove the units; returns the paths removed."""
    _needs_systemd()
    _systemctl("disable", "--now", TIMER, check=False)
    removed = []
    for name in (TIMER, SERVICE):
        if (UNITS / name).exists():
            (UNITS / name).unlink()
            removed.append(UNITS / name)
    _systemctl("daemon-reload")
    return removed


def status() -> str:
    """What systemd says of the timer: when it ran last and when it runs next."""
    return _systemctl("list-timers", "--all", TIMER, check=False)
