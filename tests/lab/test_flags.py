"""Flags of the daemon on a systemd host: changed where they stand, proven, and given back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.lab.lab import Lab
from tests.lab.server import Server

pytestmark = pytest.mark.lab

FOLDER: Final = "/etc/systemd/system/docker.service.d"
DROP_IN: Final = f"{FOLDER}/flags.conf"
OPTIONS: Final = "/etc/default/docker"
LINE: Final = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"
DROPPED: Final = f"# ours\n[Service]\nExecStart=\nExecStart={LINE} \\\n  --icc=true \\\n  $DOCKER_OPTS\n"
GIVEN: Final = '# ours\nDOCKER_OPTS="--userland-proxy=true --mtu=1400"\n'
LOOK: Final = "cd {0}; stat --format '%n %a %u:%g %Y' /etc/docker {1} *; sha256sum {1} *"


@pytest.fixture(scope="module")
def server(lab_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose daemon gets two settings by flags: of a drop-in, and of the file that the unit reads."""
    with Lab.create() as lab:
        made = Server(lab, tmp_path_factory.mktemp("flags"))
        made.host.run(["mkdir", "-p", FOLDER])
        made.host.write(DROP_IN, DROPPED, 0o640)
        made.host.write(OPTIONS, GIVEN)
        made.host.run(["systemctl", "daemon-reload"])
        made.fresh()
        yield made


def _look(server: Server) -> str:
    return server.host.run(["sh", "-c", LOOK.format(FOLDER, OPTIONS)]).stdout


def _words(server: Server) -> list[str]:
    return server.host.read(f"/proc/{server.daemon()}/cmdline").split("\0")


def test_flags_are_changed_where_they_stand_and_given_back(server: Server) -> None:
    """The daemon runs by the edited files, all containers with it; a rollback gives back bytes, modes and times."""
    before = _look(server)
    server.plan("docker-icc", "docker-userland-proxy")
    run = server.apply()
    assert server.host.read(DROP_IN) == DROPPED.replace("--icc=true", "--icc=false")
    assert server.host.read(OPTIONS) == GIVEN.replace("proxy=true", "proxy=false")
    assert {"--icc=false", "--userland-proxy=false", "--mtu=1400"} <= set(_words(server))
    assert server.icc() == "false"
    assert not server.host.exists("/etc/docker/daemon.json")

    server.run("rollback", run, code=2)
    assert _look(server) == before
    assert {"--icc=true", "--userland-proxy=true", "--mtu=1400"} <= set(_words(server))
    assert (server.icc(), server.running("one"), server.running("two")) == ("true", True, True)


def test_a_daemon_that_does_not_start_with_its_new_flags_gets_the_old_ones(server: Server) -> None:
    """What no look at the files can tell: here a check of the operator's own before the start."""
    server.host.write(f"{FOLDER}/own.conf", f"[Service]\nExecStartPre=/bin/sh -c '! grep -q icc=false {DROP_IN}'\n")
    server.host.run(["systemctl", "daemon-reload"])
    before = _look(server)
    server.plan("docker-icc")
    told = server.run("apply", "plan.json", "--yes", code=1)
    assert "taken back" in told
    assert _look(server) == before
    assert "--icc=true" in _words(server)
    assert (server.icc(), server.running("one"), server.running("two")) == ("true", True, True)
