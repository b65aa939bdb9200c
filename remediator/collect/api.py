"""The engine's API at its socket, for hosts that have no SDK: a quarter of the time that the docker command takes.

Standard library only and Python 3.8, like the probe.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from typing import Any
from urllib.parse import quote

from . import containers


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket of this host."""

    def __init__(self, path: str, timeout: int) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ApiEngine:
    """The engine behind the environment's DOCKER_HOST where that is a socket, or behind that of the daemon."""

    def __init__(self, timeout: int = 10) -> None:
        self._timeout = timeout

    def collect(self, path: str) -> dict[str, Any]:
        """The engine's documents, or {error: reason} where it gives none within the time limit (seconds an answer)."""
        address = os.environ.get("DOCKER_HOST") or "unix://" + path
        if not address.startswith("unix://"):
            return {"error": f"DOCKER_HOST names no socket of this host: {address}"}
        connection = _Connection(address[len("unix://") :], self._timeout)
        try:
            return _Api(connection).collect()
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            return {"error": reason(str(error) or type(error).__name__)}
        finally:
            connection.close()


class _Api:
    """One conversation with an engine, in the version of the API that it prefers."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection, self._version = connection, ""
        self._version = "/v" + str(self._get("/version")["ApiVersion"])

    def _get(self, path: str) -> Any:
        """The document at a path; None where there is none (any more)."""
        self._connection.request("GET", self._version + path)
        answer = self._connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        if answer.status == http.client.NOT_FOUND:
            return None
        if answer.status != http.client.OK:
            raise OSError(f"{path}: {answer.status} {text.strip()[:500]}")
        return json.loads(text)

    def _all(self, paths: list[str]) -> list[Any]:
        """The documents at paths, without those that are gone by now: the others are told all the same."""
        return [one for one in map(self._get, paths) if one is not None]

    def collect(self) -> dict[str, Any]:
        info = self._get("/info")
        documents = self._all([f"/containers/{one['Id']}/json" for one in self._get("/containers/json?all=1")])
        used = sorted({str(one["Image"]) for one in documents})
        tags = {tag for one in self._get("/images/json") for tag in one.get("RepoTags") or [] if "<none>" not in tag}
        manages = (info.get("Swarm") or {}).get("ControlAvailable")
        return containers.gather(
            info,
            self._get("/networks/bridge") or {},
            documents,
            self._all([f"/images/{quote(one, safe=':')}/json" for one in used]),
            self._get("/services") if manages else [],
            sorted(tags),
        )


def reason(text: str) -> str:
    """Why an engine cannot be asked, in one of a few sentences, however it was asked."""
    lowered = text.lower()
    if "timed out" in lowered or "timeout" in lowered:
        return "the engine did not answer in time"
    if "permissionerror" in lowered or "permission denied" in lowered:
        return "no permission to speak to the engine's socket"
    absent = ("no such file", "filenotfound", "connection refused", "connectionrefused")
    ended = ("connection reset", "connectionreset", "remote end closed", "broken pipe")  # systemd's socket, no daemon
    if any(one in lowered for one in (*absent, *ended)):
        return "no engine answers at its socket"
    return "the engine cannot be asked: " + text
