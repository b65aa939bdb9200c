"""What cannot be known is told as unknown, with the reason, and never fixed."""

from __future__ import annotations

import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import remediator
from tests.engine import hosts
from tests.engine.private import PrivateEngine

pytestmark = pytest.mark.engine

CONFIG = "/etc/docker/daemon.json"
UNSAFE = ("--fix", "unsafe", "--max-disruption", "restart")


@pytest.fixture(scope="module")
def host(shared_engines: Callable[..., PrivateEngine]) -> PrivateEngine:
    """A host with a container and a bad mode."""
    made: PrivateEngine = shared_engines({"log-level": "debug"}, files={"/etc/default/docker": "# nothing\n"})
    made.load_image()
    made.container("plain", command=hosts.QUICK)
    made.path("/etc/default/docker").chmod(0o666)
    return made


@pytest.fixture
def frozen(host: PrivateEngine) -> Iterator[PrivateEngine]:
    """The host while its daemon does not answer."""
    host.run("kill", "-STOP", str(hosts.daemon_pid(host)))
    try:
        yield host
    finally:
        host.run("kill", "-CONT", str(hosts.daemon_pid(host)))


def _unknown(facts: dict[str, Any]) -> dict[str, str]:
    return {kind: one["unknown"] for kind, some in facts.items() for one in some.values() if one.get("unknown")}


def _rest_is_judged(host: PrivateEngine, *options: str) -> None:
    plan = hosts.plan_of(host, *UNSAFE, *options, code=2)
    kinds = {one["kind"] for one in plan["changes"]}
    assert ("file" in kinds, kinds & {"daemon", "container", "engine"}) == (True, set())
    assert plan["steps"].get("activation", {}).get("action", "none") == "none"


def test_engine_that_does_not_answer(frozen: PrivateEngine) -> None:
    """A stopped dockerd costs no more than the time limit; its facts are unknown, files are still judged."""
    started = time.monotonic()
    state = hosts.document(frozen.remediator("collect", "--timeout", "2", code=0))
    assert time.monotonic() - started < 15
    reason = "the engine did not answer in time"
    assert _unknown(state["facts"]) == {"daemon": reason, "container": reason, "engine": reason}
    _rest_is_judged(frozen, "--timeout", "2")


def test_engine_that_is_down(host: PrivateEngine) -> None:
    """Without a daemon its facts are unknown and nothing of them is planned; files are still judged."""
    host.service("stop")
    try:
        state = hosts.document(host.remediator("collect", code=0))
        reason = "no engine answers at its socket"
        assert _unknown(state["facts"]) == {"daemon": reason, "container": reason, "engine": reason}
        _rest_is_judged(host)
    finally:
        host.service("start")


def test_user_without_permission(host: PrivateEngine) -> None:
    """nobody may not speak to the engine: unknown with that reason, and what can be read is judged."""
    python, paths = "/usr/bin/python3", f"{Path(remediator.__file__).parents[1]}:{sysconfig.get_path('platlib')}"
    argv = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", f"PYTHONPATH={paths}", "HOME=/tmp")
    probe = "import remediator.model, docker, sys; assert sys.version_info[:2] == " + str(sys.version_info[:2])
    tried = host.run(*argv, python, "-c", probe, check=False)
    if tried.returncode:
        pytest.skip(f"nobody cannot run this program here: {tried.stderr.strip().splitlines()[-1]}")
    done = host.run(*argv, python, "-m", "remediator", "audit", "--format", "json", check=False)
    assert done.returncode == 2, done.stderr
    found = {one["control"]: one for one in hosts.document(done)["findings"]}
    assert (found["container-memory"]["outcome"], found["container-memory"]["reason"]) == (
        "unknown",
        "no permission to speak to the engine's socket",
    )
    assert (found["docker-icc"]["outcome"], found["file-default-docker-mode"]["outcome"]) == ("unknown", "fail")
