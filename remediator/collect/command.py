"""The engine behind the docker command, for hosts that have nothing else.

Standard library only and Python 3.8, like the probe.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from . import containers


class CliEngine:
    """The engine behind the docker command, for hosts that have nothing else."""

    def __init__(self, timeout: int = 10) -> None:
        self._timeout = timeout

    def _docker(self, *words: str) -> str:
        done = subprocess.run(  # noqa: UP022 - Python 3.8
            ["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=self._timeout, check=False
        )
        if done.returncode:
            raise OSError(done.stderr.decode("utf-8", "replace").strip() or "docker ended with %d" % done.returncode)
        return done.stdout.decode("utf-8", "replace")

    def collect(self) -> dict[str, Any]:
        """The engine's documents, or {error: reason} where it gives none within the time limit."""
        try:
            info = json.loads(self._docker("info", "--format", "{{json .}}"))
            if info.get("ServerErrors"):
                raise OSError("; ".join(info["ServerErrors"]))
            bridges = self._docker("network", "ls", "--quiet", "--filter", "name=^bridge$").split()
            bridge = json.loads(self._docker("network", "inspect", *bridges))[0] if bridges else {}
            listed = self._docker("ps", "--all", "--quiet", "--no-trunc").split()
            tags = self._docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
            documents = []
            for start in range(0, len(listed), 100):
                documents += self._inspect("container", listed[start : start + 100])
            images = self._inspect("image", sorted({str(one.get("Image", "")) for one in documents}))
            manages = (info.get("Swarm") or {}).get("ControlAvailable")
            listed = self._docker("service", "ls", "--quiet").split() if manages else []
            services = self._inspect("service", listed)
        except subprocess.TimeoutExpired:
            return {"error": "the engine did not answer in time"}
        except (OSError, ValueError, IndexError) as error:
            return {"error": reason(str(error))}
        return containers.gather(
            info, bridge, documents, images, services, sorted(one for one in tags if "<none>" not in one)
        )

    def _inspect(self, kind: str, identities: list[str]) -> list[dict[str, Any]]:
        if not identities:
            return []
        done = subprocess.run(  # one may be gone by now: the others are told all the same
            ["docker", "inspect", "--type", kind, *identities],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=self._timeout,
            check=False,
        )
        return list(json.loads(done.stdout.decode("utf-8", "replace") or "[]"))


def reason(text: str) -> str:
    """Why an engine cannot be asked, in one of a few sentences that are the same for SDK and command line."""
    lowered = text.lower()
    if "timed out" in lowered or "timeout" in lowered:
        return "the engine did not answer in time"
    if "permissionerror" in lowered or "permission denied" in lowered:
        return "no permission to speak to the engine's socket"
    if "'docker'" in lowered or '"docker"' in lowered:
        return "there is no docker command"
    absent = ("no such file", "filenotfound", "connection refused", "cannot connect", "connectionrefused")
    if any(one in lowered for one in absent):
        return "no engine answers at its socket"
    return "the engine cannot be asked: " + text
