"""Throwaway ssh keys for tests, made and used by the real ssh-keygen."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def need(what: str, there: bool) -> None:
    """Skip a test where something that it needs is not there; on CI that is a failure."""
    if not there:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"needs {what}")


class Keys:
    """A directory of ed25519 keys by name."""

    def __init__(self, folder: Path) -> None:
        need("ssh-keygen", shutil.which("ssh-keygen") is not None)
        self.folder = folder

    def key(self, name: str, passphrase: str = "") -> Path:
        """The private key of that name; it is made when it is first asked for."""
        path = self.folder / name
        if not path.exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(path)]
            subprocess.run(words, check=True, timeout=60, stdin=subprocess.DEVNULL)
        return path

    def line(self, name: str, principals: str, options: str = "") -> str:
        """A line of an allowed-signers file."""
        kind, public = (self.folder / f"{self.key(name).name}.pub").read_text(encoding="utf-8").split()[:2]
        return f"{principals} {options + ' ' if options else ''}{kind} {public}\n"

    def sign(self, data: bytes, name: str, namespace: str = "remediator-plan") -> bytes:
        """A signature as someone makes it by hand."""
        words = ["ssh-keygen", "-Y", "sign", "-n", namespace, "-f", str(self.key(name))]
        return subprocess.run(words, input=data, capture_output=True, check=True, timeout=60).stdout
