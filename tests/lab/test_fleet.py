"""Many hosts over ssh: collect, plan, dry-run, apply in waves, verify, roll back, survive being killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import cut_off, remediator
from tests.lab.recipe import GENERATIONS

pytestmark = pytest.mark.lab
UNSAFE = ("--fix", "unsafe", "--max-disruption", "restart")


class Fleet:
    """Hosts of one lab, and the program as a user on the control machine runs it."""

    def __init__(self, lab: Lab, hosts: list[Host], state: Path) -> None:
        self.lab, self.hosts, self.state = lab, hosts, state
        self.inventory = lab.inventory()

    def run(self, *arguments: str, code: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run remediator; with `code` the exit code must be that."""
        done = remediator(self.state, *arguments, folder=self.state.parent)
        if code is not None:
            assert done.returncode == code, f"{arguments}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done

    def json(self, *arguments: str, code: int | None = None) -> Any:
        """Run remediator with --format json; the document that it prints."""
        return json.loads(self.run(*arguments, "--format", "json", code=code).stdout)

    def receipt(self) -> Any:
        """The newest receipt."""
        return json.loads(max((self.state / "runs").glob("*.json")).read_text())


def populate(host: Host) -> None:
    """Eight containers: six on docker0, one on a network of its own, one on the host's."""
    host.load_image()
    host.docker("network", "create", "apps")
    for index in range(5):
        host.run_container(f"bridged{index}")
    host.run_container("keeper", "--restart", "unless-stopped")
    host.run_container("networked", "--network", "apps")
    host.run_container("agent", "--network", "host")


def fleet_of(lab: Lab, generations: list[str], state: Path) -> Fleet:
    """A fleet of new hosts with containers."""
    hosts = lab.host_group([("", one) for one in generations])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(populate, hosts))
    return Fleet(lab, hosts, state)


@pytest.fixture
def own_lab(lab_machine: None) -> Iterator[Lab]:
    """A lab for one test."""
    with Lab.create() as made:
        yield made


def pings(host: Host, source: str, target: str) -> bool:
    """Whether a container on docker0 reaches another by its address."""
    inspected: dict[str, Any] = host.inspect(target)
    address = inspected["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    return host.run(["docker", "exec", source, "ping", "-c", "1", "-W", "1", address], check=False).returncode == 0


def started(host: Host) -> dict[str, tuple[int, str]]:
    """Pid and start time of every running container."""
    names = host.docker("ps", "--format", "{{.Names}}").stdout.split()
    found: dict[str, Any] = {name: host.inspect(name)["State"] for name in names}
    return {name: (one["Pid"], one["StartedAt"]) for name, one in found.items()}


def test_six_hosts_are_planned_changed_in_waves_and_verified(own_lab: Lab, tmp_path: Path) -> None:
    """Two hosts of each generation, one of them unreachable: plan, dry-run, waves, proof, rollback."""
    fleet = fleet_of(own_lab, [*GENERATIONS, *GENERATIONS], tmp_path / "state")
    down, *up = fleet.hosts[::-1]
    # these have icc=false in effect before: nothing on them needs more than live-restore and a restart
    quiet = up[:2]
    for host in quiet:
        host.docker("stop", *started(host))
        host.configure_docker({"icc": False})
        host.docker("start", "bridged0", "bridged1", "bridged2", "keeper", "networked", "agent")
    down.stop()
    before: dict[str, dict[str, tuple[int, str]]] = {host.name: started(host) for host in up}
    assert all(pings(host, "bridged0", "bridged1") is (host not in quiet) for host in up)

    inventory = str(fleet.inventory)
    plan = fleet.json("plan", "-i", inventory, *UNSAFE, "-o", "plan.json", code=1)
    assert sorted(host.name for host in up) == [one["host"]["name"] for one in plan["hosts"]]
    assert [down.name] == list(plan["unreached"])
    text = fleet.run("plan", "-i", inventory, *UNSAFE).stdout
    assert f"{down.name}: cannot be reached" in text
    assert "all 5 hosts" in text

    dry = fleet.json("apply", "plan.json", "--dry-run", code=2)
    assert before == {host.name: started(host) for host in up}
    fleet.run("apply", "plan.json", "--yes", "--waves", "1,50%,100%", code=2)
    receipt = fleet.receipt()
    made = [f"{one['host']['name']}: {told}" for one in receipt["hosts"] for told in one["changed"]]
    assert sorted(dry["changed"]) == sorted(made)
    assert [one for host in receipt["hosts"] for one in [*host.get("failed", []), *host.get("pending", [])]] == []

    for host in up:
        assert not pings(host, "bridged0", "bridged1")
        assert before[host.name].keys() == started(host).keys()
        assert host.docker("info", "--format", "{{.LiveRestoreEnabled}}").stdout.strip() == "true"
    for host in quiet:
        assert before[host.name] == started(host), "containers survive a restart under live-restore"
    fleet.run("plan", "-i", inventory, "--limit", f"!{down.name}", *UNSAFE, code=0)
    assert (
        "No drift" in fleet.run("drift", "--once", "-i", inventory, "--limit", f"!{down.name}", *UNSAFE, code=0).stdout
    )
    fleet.run("apply", "plan.json", "--yes", code=1)

    fleet.run("rollback", receipt["run"], code=2)
    assert all(pings(host, "bridged0", "bridged1") is (host not in quiet) for host in up)
    assert all(before[host.name].keys() == started(host).keys() for host in up)
    for host in up:
        assert host.docker("info", "--format", "{{.LiveRestoreEnabled}}").stdout.strip() == "false"
    for host in quiet:
        assert before[host.name] == started(host), "and the one of the way back, which switches it off by a reload"


def test_hosts_that_cannot_be_looked_at_are_told_with_the_reason(own_lab: Lab, tmp_path: Path) -> None:
    """No ssh, no python, sudo refused: listed; the others go on. By sudo as another user than root as well."""
    hosts = own_lab.host_group([(name, "26.1") for name in ("good", "nopython", "nosudo", "dead")])
    fleet = Fleet(own_lab, hosts, tmp_path / "state")
    inventory = own_lab.inventory("admin")
    hosts[1].run(["rm", "-f", "/usr/bin/python3"])
    hosts[2].run(["find", "/etc/sudoers.d", "-type", "f", "-delete"])
    hosts[3].stop()
    found = fleet.json("audit", "-i", str(inventory), code=1)
    assert [one["host"]["name"] for one in found["hosts"]] == ["good"]
    assert found["unreached"]["dead"].startswith("cannot be reached")
    assert found["unreached"]["nopython"].startswith("has no python3")
    assert found["unreached"]["nosudo"].startswith("sudo is refused")
    states = fleet.run("collect", "-i", str(inventory), "--limit", "good", code=0).stdout.splitlines()
    assert [json.loads(one)["host"]["name"] for one in states] == ["good"]


def test_a_host_whose_daemon_cannot_start_halts_the_rollout(own_lab: Lab, tmp_path: Path) -> None:
    """The wave of the broken host is the last; what was not done is said, and a later run finishes it."""
    fleet = fleet_of(own_lab, ["26.1", "20.10", "28.5"], tmp_path / "state")
    inventory = str(fleet.inventory)
    first, second, third = sorted(fleet.hosts, key=lambda one: one.name)
    fleet.run("plan", "-i", inventory, *UNSAFE, "-o", "plan.json", code=2)
    broken = "[Service]\nExecStart=\nExecStart=/bin/false\n"
    second.write("/etc/systemd/system/docker.service.d/broken.conf", broken)
    second.run(["systemctl", "daemon-reload"])
    done = fleet.run("apply", "plan.json", "--yes", "--waves", "1,2,100%")
    assert done.returncode == 1
    told = {one["host"]["name"]: one for one in fleet.receipt()["hosts"]}
    assert told[first.name]["ok"] is True
    assert told[second.name]["ok"] is False
    assert told[third.name]["errors"] == ["not done"]
    assert (
        "live-restore" not in third.read("/etc/docker/daemon.json") if third.exists("/etc/docker/daemon.json") else True
    )

    second.run(["rm", "/etc/systemd/system/docker.service.d/broken.conf"])
    second.run(["systemctl", "daemon-reload"])
    second.run(["systemctl", "reset-failed", "docker.service", "docker.socket"], check=False)
    second.restart_docker()
    second.docker("start", *[f"bridged{index}" for index in range(5)], "keeper", "networked", "agent")
    was = started(first)
    fleet.run("apply", "plan.json", "--yes", code=2)
    assert all(one["ok"] for one in fleet.receipt()["hosts"])
    assert was == started(first), "a host that was done is left alone"
    fleet.run("plan", "-i", inventory, *UNSAFE, code=0)


def test_a_killed_control_machine_is_survived(own_lab: Lab, tmp_path: Path) -> None:
    """kill -9 of the whole process group in the middle: a new run finds where every host stands and finishes.

    At the other steps the fault campaign does so.
    """
    fleet = fleet_of(own_lab, ["28.5", "26.1"], tmp_path / "state")
    inventory = str(fleet.inventory)
    running = {host.name: started(host).keys() for host in fleet.hosts}
    fleet.run("plan", "-i", inventory, *UNSAFE, "-o", "plan.json", code=2)
    cut_off(
        fleet.state, "Make it take effect", "apply", "plan.json", "--yes", "--waves", "100%", folder=tmp_path, later=0.5
    )
    fleet.run("apply", "plan.json", "--yes", code=2)
    assert all(one["ok"] for one in fleet.receipt()["hosts"])
    fleet.run("plan", "-i", inventory, *UNSAFE, code=0)
    for host in fleet.hosts:
        assert not pings(host, "bridged0", "bridged1")
        assert running[host.name] == started(host).keys()


def test_the_emitted_project_is_an_ordinary_one(own_lab: Lab, tmp_path: Path) -> None:
    """Plain ansible-playbook with the user's inventory makes the same changes, and none when run again."""
    fleet = fleet_of(own_lab, ["20.10", "28.5"], tmp_path / "state")
    inventory = str(fleet.inventory)
    fleet.run("plan", "-i", inventory, *UNSAFE, "--emit", "project", code=2)
    ansible = str(Path(sys.executable).parent / "ansible-playbook")
    for expected in (True, False):
        done = subprocess.run(
            [ansible, "-i", inventory, str(tmp_path / "project/playbook.yml")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        recap = done.stdout.rpartition("PLAY RECAP")[2]
        assert ("changed=0" not in recap) is expected, done.stdout[-3000:]
    fleet.run("plan", "-i", inventory, *UNSAFE, code=0)


def test_directories_and_scripts_are_inventories(own_lab: Lab, tmp_path: Path) -> None:
    """A directory with a file and a dynamic script: any inventory that ansible takes."""
    hosts = own_lab.host_group([("fixed", "26.1"), ("dynamic", "26.1")])
    fleet = Fleet(own_lab, hosts, tmp_path / "state")
    folder = tmp_path / "inventory"
    folder.mkdir()
    static = yaml.safe_load(fleet.inventory.read_text())
    moved = static["all"]["hosts"].pop("dynamic")
    (folder / "hosts.yml").write_text(yaml.safe_dump(static))
    document = {"_meta": {"hostvars": {"dynamic": moved}}, "scripted": {"hosts": ["dynamic"]}}
    (folder / "script.py").write_text(f"#!{sys.executable}\nprint({json.dumps(document)!r})\n")
    (folder / "script.py").chmod(0o755)
    found = fleet.json("audit", "-i", str(folder), code=2)
    assert [one["host"]["name"] for one in found["hosts"]] == ["dynamic", "fixed"]
    found = fleet.json("audit", "-i", str(folder), "--limit", "scripted", code=2)
    assert [one["host"]["name"] for one in found["hosts"]] == ["dynamic"]


# A unit without docker.socket, of which systemd keeps the old socket: what connects there waits for ever.
OWN_UNIT = """[Unit]
After=containerd.service
[Service]
Type=notify
ExecStart=/usr/sbin/dockerd --containerd=/run/containerd/containerd.sock
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=process
Delegate=yes
"""


def test_a_daemon_on_another_socket_is_looked_at_and_changed(own_lab: Lab, tmp_path: Path) -> None:
    """The engine is asked where its own settings say that it listens."""
    host = own_lab.host("moved", "28.5")
    host.run(["systemctl", "stop", "docker.service"])
    host.write("/etc/systemd/system/docker.service", OWN_UNIT)
    host.write("/etc/docker/daemon.json", '{"hosts": ["unix:///srv/docker.sock"]}\n')
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "start", "docker.service"])
    fleet = Fleet(own_lab, [host], tmp_path / "state")
    fleet.run("plan", "-i", str(fleet.inventory), *UNSAFE, "-o", "plan.json", code=2)
    fleet.run("apply", "plan.json", "--yes", code=2)
    words = ["docker", "-H", "unix:///srv/docker.sock", "info", "--format", "{{.LiveRestoreEnabled}}"]
    assert host.run(words).stdout.strip() == "true"
    fleet.run("plan", "-i", str(fleet.inventory), *UNSAFE, code=0)
