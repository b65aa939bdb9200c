"""Where Debian packages come from: what the machine's own apt is configured to use."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from tests.lab.errors import LabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# how to reach a mirror (proxies, certificates, retries) and how old what it serves may be
TRANSPORT = ["Acquire::" + key for key in ("http", "https", "Retries", "Check-Date", "Check-Valid-Until")]
ROLLING = {"stable", "oldstable", "testing", "unstable", "sid"}


def mirror() -> str:
    """The machine's Debian mirror; every suite is taken from it. REMEDIATOR_LAB_MIRROR overrides."""
    if own := os.environ.get("REMEDIATOR_LAB_MIRROR"):
        return own
    suites = ROLLING | {platform.freedesktop_os_release().get("VERSION_CODENAME", "")}
    for line in _ask(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"]):
        uri, release, component = line.split()
        if release in suites and component == "main" and uri.startswith(("http://", "https://")):
            return uri
    raise LabError("apt has no Debian mirror configured: set REMEDIATOR_LAB_MIRROR to the URL of one")


def transport_settings() -> str:
    """The machine's apt settings on how to reach a mirror, as text of an apt.conf."""
    return "".join(f"{line}\n" for line in _ask(["apt-config", "dump", *TRANSPORT]))


def _ask(argv: list[str]) -> list[str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"{argv[0]} is not installed: the lab builds its servers with apt") from error
    if done.returncode:
        raise LabError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.splitlines()
