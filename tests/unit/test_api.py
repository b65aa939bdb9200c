"""Asking an engine at its socket, against a small server that speaks HTTP there."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from remediator.collect.api import ApiEngine

CONTAINER = {"Id": "c1", "Name": "/web", "Image": "sha256:i1", "HostConfig": {}, "Config": {"Image": "shop:1"}}
ANSWERS: dict[str, Any] = {
    "/version": {"ApiVersion": "1.45"},
    "/v1.45/info": {"ServerVersion": "26.1.5"},
    "/v1.45/containers/json?all=1": [{"Id": "c1"}, {"Id": "gone"}],
    "/v1.45/containers/c1/json": CONTAINER,
    "/v1.45/images/json": [{"RepoTags": ["shop:1", "<none>:<none>"]}, {"RepoTags": None}],
    "/v1.45/images/sha256:i1/json": {"Id": "sha256:i1", "RepoDigests": ["shop@sha256:d1"]},
    "/v1.45/networks/bridge": {"Id": "n1", "Options": {"com.docker.network.bridge.enable_icc": "true"}},
}


@contextmanager
def engine(path: Path, answers: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server at a socket: documents by path, a number is an error of that status, None keeps silent."""
    quiet = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = answers.get(self.path, 404)
            if answer is None:
                quiet.wait(30)
                self.close_connection = True
                return
            status, body = (answer, {"message": "it is broken"}) if isinstance(answer, int) else (200, answer)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "a socket"

        def log_message(self, *_words: Any) -> None:
            pass

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield
        finally:
            quiet.set()
            server.shutdown()
            thread.join()


def test_documents_are_asked_for_in_the_engines_own_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(tmp_path / "s", ANSWERS, monkeypatch):
        found = ApiEngine().collect(str(tmp_path / "s"))
    assert list(found["containers"]) == ["web"]  # the other one is gone since it was listed
    assert found["containers"]["web"]["image"] == {"digests": ["shop@sha256:d1"]}
    assert found["info"]["ServerVersion"] == "26.1.5"
    assert found["bridge"] == {"Id": "n1", "Options": {"com.docker.network.bridge.enable_icc": "true"}}
    assert found["images"] == ["shop:1"]
    assert found["services"] == {}


def test_services_are_asked_for_where_the_host_manages_a_swarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swarm = {"/v1.45/info": {"Swarm": {"ControlAvailable": True}}, "/v1.45/services": [{"ID": "s1"}]}
    with engine(tmp_path / "s", {**ANSWERS, **swarm}, monkeypatch):
        assert list(ApiEngine().collect(str(tmp_path / "s"))["services"]) == ["s1"]


def test_a_daemon_without_a_bridge_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(tmp_path / "s", {**ANSWERS, "/v1.45/networks/bridge": 404}, monkeypatch):
        assert ApiEngine().collect(str(tmp_path / "s"))["bridge"] == {"Id": "", "Options": {}}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"/v1.45/info": 500}, "the engine cannot be asked: /info: 500"),
        ({"/v1.45/containers/json?all=1": None}, "the engine did not answer in time"),
        ({"/version": ["no", "object"]}, "the engine cannot be asked: "),
        ({"/version": {}}, "the engine cannot be asked: 'ApiVersion'"),
    ],
)
def test_an_engine_that_gives_no_answer_is_a_reason(
    answers: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(tmp_path / "s", {**ANSWERS, **answers}, monkeypatch):
        found = ApiEngine(timeout=1).collect(str(tmp_path / "s"))
    assert list(found) == ["error"]
    assert found["error"].startswith(told)


def test_a_socket_that_nobody_serves_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where systemd holds the socket, and the daemon that it starts for it dies."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        ending = threading.Thread(target=lambda: listening.accept()[0].close())
        ending.start()
        found = ApiEngine().collect(str(tmp_path / "s"))
        ending.join()
    assert found == {"error": "no engine answers at its socket"}


def test_no_engine_at_the_socket_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert ApiEngine().collect(str(tmp_path / "s")) == {"error": "no engine answers at its socket"}


def test_the_environment_may_name_another_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine(tmp_path / "s", ANSWERS, monkeypatch):
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/s")
        assert "web" in ApiEngine().collect("/run/docker.sock")["containers"]


def test_an_engine_of_another_host_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    assert ApiEngine().collect(str(tmp_path / "s")) == {
        "error": "DOCKER_HOST names no socket of this host: tcp://192.0.2.1:2376"
    }
