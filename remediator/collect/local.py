"""This host and file trees: runs the probe in-process. The only place that imports the Docker SDK."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..errors import InputError
from . import api, containers, owners, probe

RECORDED = "engine.json"  # beside a file tree's root directory: recorded engine documents
TIMEOUT = 10  # seconds that the engine has for an answer
_PARALLEL = 4


class SdkEngine:
    """The engine behind the environment's DOCKER_HOST, or the daemon's socket, by way of the SDK."""

    def __init__(self, timeout: int = TIMEOUT) -> None:
        self._timeout = timeout

    def collect(self, path: str) -> dict[str, Any]:
        """The engine's documents, or {error: reason} where it gives none within the time limit."""
        import docker
        import requests

        address = os.environ.get("DOCKER_HOST") or f"unix://{path}"
        try:
            client = docker.APIClient(base_url=address, version="auto", timeout=self._timeout)
        except docker.errors.DockerException as error:
            return {"error": _reason(error)}
        try:
            with ThreadPoolExecutor(_PARALLEL) as pool:
                asked = pool.submit(client.info)
                named = pool.submit(client.images)
                bridges = pool.submit(client.networks, names=["bridge"])
                listed = client.containers(all=True)
                documents = list(pool.map(lambda one: _inspect(client, one["Id"]), listed))
                info = asked.result()
                bridge: dict[str, Any] = next(iter(bridges.result()), {})
                tags = sorted(tag for one in named.result() for tag in one.get("RepoTags") or [] if "<none>" not in tag)
                used = sorted({str(one["Image"]) for one in documents if one})
                images = list(pool.map(lambda one: _image(client, one), used))
                services = _services(client) if (info.get("Swarm") or {}).get("ControlAvailable") else []
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            return {"error": _reason(error)}
        finally:
            client.close()
        found = [one for one in documents if one is not None]
        return containers.gather(info, bridge, found, [one for one in images if one is not None], services, tags)


def _inspect(client: Any, identity: str) -> dict[str, Any] | None:
    import docker

    try:
        return dict(client.inspect_container(identity))
    except docker.errors.NotFound:
        return None  # removed since it was listed


def _services(client: Any) -> list[dict[str, Any]]:
    return list(client.services())


def _image(client: Any, identity: str) -> dict[str, Any] | None:
    import docker

    try:
        return dict(client.inspect_image(identity))
    except docker.errors.NotFound:
        return None  # removed while its container is there still


def _reason(error: Exception) -> str:
    return api.reason(f"{type(error).__name__}: {error}" if "Timeout" in type(error).__name__ else str(error))


class RecordedEngine:
    """Engine documents recorded beside a file tree: {info, bridge, inspect, images, services: [...], live: {...}}."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def collect(self, _path: str) -> dict[str, Any]:
        """The recorded documents; {error: reason} where there is no recording.

        Raises InputError for one that cannot be read.
        """
        try:
            document = json.loads(self._path.read_bytes())
            more = document.get("images", []), document.get("services", [])
            found = containers.gather(
                document["info"], document.get("bridge", {}), document["inspect"], *more, recorded=True
            )
        except FileNotFoundError:
            return {"error": "a file tree without recorded engine data"}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self._path}: not a recording of an engine: {error!r}") from error
        measured = document.get("live", {})
        for name, one in found["containers"].items():
            one["live"] = measured.get(name, {})
        found["recorded"] = True
        return found


def collect(request: dict[str, Any], root: str = "/", timeout: int = TIMEOUT) -> dict[str, Any]:
    """The evidence of this host, or of the file tree at `root`."""
    if not Path(root).is_dir():
        raise InputError(f"--root {root}: not a directory")
    tree = Path(root).absolute()
    engine = SdkEngine(timeout) if tree == Path("/") else RecordedEngine(tree.parent / RECORDED)
    asked = {**request, "root": str(tree)}
    evidence = probe.collect(asked, engine)
    evidence["owners"] = owners.gather(asked, evidence["engine"])
    return evidence
