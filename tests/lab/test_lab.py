"""The lab itself: what the other tests stand on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import cgroups, processes, state
from tests.lab.errors import LabError
from tests.lab.fixtures import MakeHost
from tests.lab.host import Host
from tests.lab.lab import Lab, sweep
from tests.lab.processes import Process
from tests.lab.recipe import GENERATIONS

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
NAMESPACES = ("mnt", "net", "uts", "ipc", "pid", "cgroup")


@pytest.fixture(scope="module", params=GENERATIONS)
def host(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Host]:
    """One host per engine generation, for the tests that leave no trace on it."""
    made = lab.host(generation=request.param)
    yield made
    lab.remove(made)


def ansible(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the ad-hoc command of the environment that the tests run in."""
    command = Path(sys.executable).with_name("ansible")
    path = f"{command.parent}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}
    return subprocess.run([command, *argv], capture_output=True, text=True, env=environment, timeout=120)


def lab_command(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run the lab's command line."""
    words = [sys.executable, "-m", "tests.lab", *argv]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True)


def test_boots_with_its_own_engine(host: Host) -> None:
    """Each host runs the engine of its generation, on overlay2 as a real server does."""
    assert host.docker("version", "--format", "{{.Server.Version}}").stdout.startswith(f"{host.generation}.")
    assert host.docker("info", "--format", "{{.Driver}}").stdout.strip() == "overlay2"
    assert host.run(["systemctl", "is-system-running"]).stdout.strip() == "running"
    assert host.read("/etc/hostname").strip() == host.run(["hostname"]).stdout.strip() == host.name


def test_runs_containers(host: Host) -> None:
    """Containers run, privileged ones too, and reach each other over docker0."""
    host.run_container("boss", "--privileged", "--ulimit", "nofile=1048576", "--oom-score-adj", "-500")
    host.run_container("web", command=("httpd", "-f", "-p", "8080", "-h", "/etc"))
    template = "{{.NetworkSettings.Networks.bridge.IPAddress}}"
    address = host.docker("inspect", "--format", template, "web").stdout.strip()
    fetch = ("wget", "-q", "-O", "-", f"http://{address}:8080/group")
    try:
        page = host.docker("exec", "--privileged", "boss", *fetch)
        assert "root:x:0:" in page.stdout
        assert host.exists(f"/proc/{host.container_pid('web')}/status")
    finally:
        host.docker("rm", "--force", "boss", "web")


def test_runs_timers(host: Host) -> None:
    """A systemd timer fires."""
    unit = ["systemd-run", "--on-active=100ms", "--timer-property=AccuracySec=1ms", "touch", "/run/fired"]
    host.run(unit)
    assert processes.until(lambda: host.exists("/run/fired"), timeout=10)


def test_has_audit_rules_as_files(host: Host) -> None:
    """auditd is installed but not running: the kernel's audit is the machine's."""
    assert host.exists("/etc/audit/rules.d")
    assert host.run(["augenrules", "--check"], check=False).returncode in (0, 1)
    assert host.run(["systemctl", "is-enabled", "auditd"], check=False).stdout.strip() == "masked"


def test_cannot_write_the_keys_of_the_machine(host: Host) -> None:
    """A host may set what belongs to its own namespaces, and nothing else."""
    host.run(["dd", "status=none", "of=/proc/sys/net/ipv4/conf/all/log_martians"], input="1")
    for key in ("kernel/randomize_va_space", "vm/swappiness", "fs/suid_dumpable"):
        assert host.run(["test", "-w", f"/proc/sys/{key}"], check=False).returncode == 1


@pytest.mark.parametrize("user", ["root", "admin"])
def test_answers_ansible(lab: Lab, host: Host, user: str) -> None:
    """Ansible gets in with host keys checked, as root and as a user who becomes root."""
    done = ansible(host.name, "-i", lab.inventory(user), "-m", "ansible.builtin.command", "-a", "id -un")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "root"
    assert ansible(host.name, "-i", lab.inventory(user), "-m", "ping").returncode == 0


def test_ansible_refuses_a_wrong_host_key(lab: Lab, lab_host: MakeHost) -> None:
    """A host that is not the one on record is not talked to."""
    host = lab_host()
    inventory, known = lab.inventory(), lab.directory / "known_hosts"
    right = known.read_text()
    known.write_text("".join(line for line in right.splitlines(True) if not line.startswith(f"{host.ip},")))
    try:
        done = ansible(host.name, "-i", inventory, "-m", "ping")
        assert "Host key verification failed" in done.stdout + done.stderr
    finally:
        known.write_text(right)


def test_reboot_keeps_state(lab_host: MakeHost) -> None:
    """What was written before a reboot is there after it; a container comes back by its policy."""
    host = lab_host()
    host.write("/etc/docker/daemon.json", '{"debug": true}\n')
    host.run_container("stays", "--restart", "always")
    host.run_container("goes")
    before = host.run(["cat", "/etc/machine-id"]).stdout, host.pid
    host.reboot()
    assert host.read("/etc/docker/daemon.json") == '{"debug": true}\n'
    assert host.run(["cat", "/etc/machine-id"]).stdout == before[0]
    assert host.pid != before[1]
    assert host.docker("ps", "--format", "{{.Names}}").stdout.split() == ["stays"]


def test_hosts_reach_each_other_and_nothing_else(lab_host: MakeHost) -> None:
    """There is a way from host to host, and none out of the lab."""
    one, other = lab_host(), lab_host()
    assert one.run(["ping", "-c", "1", "-W", "2", other.ip], check=False).returncode == 0
    assert one.run(["ip", "route", "show", "default"]).stdout == ""


def test_a_broken_engine_is_told_apart(lab_host: MakeHost) -> None:
    """A host whose dockerd does not start is not ready, and says why."""
    host = lab_host()
    host.write("/etc/docker/daemon.json", "{")
    host.run(["systemctl", "restart", "docker"], check=False)
    with pytest.raises(LabError, match="Docker API"):
        host.wait_ready(timeout=0.5)


class Belongings:
    """What a lab with running hosts has on the machine, to look for it afterwards."""

    def __init__(self, lab: Lab) -> None:
        self.name, self.directory = lab.name, lab.directory
        roots = [Path(f"/proc/{host.pid}/ns") for host in lab.hosts]
        self.namespaces = {(kind, processes.namespace(root / kind)) for root in roots for kind in NAMESPACES}
        self.namespaces.add(("net", processes.namespace(lab.netns)))
        self.noted = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")

    def left(self) -> list[str]:
        """What of it is still there."""
        found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.name in line]
        found += [str(group) for group in cgroups.groups(self.name)]
        found += [str(self.directory)] if self.directory.exists() else []
        # the number of a namespace that is gone is given out again: what started later is not ours
        known = [each for pid in processes.everyone() if (each := Process.of(pid)) and each.start <= self.noted]
        for pid in (each.pid for each in known):
            root = Path(f"/proc/{pid}/ns")
            inside = [kind for kind, seen in self.namespaces if processes.namespace(root / kind) == seen]
            found += [f"process {pid} in {kind}" for kind in inside]
        return found


def outside() -> set[str]:
    """What the machine itself has, without what carries a lab's name: other tests may run beside."""
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    named = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {f"link {line.split()[1]}" for line in links.splitlines()}
    found |= {f"netns {line}" for line in named.splitlines()}
    found |= {f"mount {line.split()[4]}" for line in mounts}
    found |= {f"group {path}" for each in cgroups.hierarchies() for path in each.mount.glob("*/")}
    # the machine's own engine, and those of the engine tests, may come and go meanwhile
    return {each for each in found if not re.search(f"{state.PREFIX}|docker|veth|remediator-engine", each)}


def test_down_leaves_nothing(lab_machine: None) -> None:
    """After down the machine has what it had before: mounts, cgroups, namespaces, links, processes, files."""
    before = outside()
    lab = Lab.create()
    with lab:
        lab.host_group([("one", "26.1"), ("two", "20.10")])
        lab.hosts[0].run_container("boss", "--privileged", "--restart", "always")
        assert ansible("all", "-i", lab.inventory(), "-m", "ping").returncode == 0  # leaves a connection open
        stays = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", lab.inventory()])
        had = Belongings(lab)
        assert had.left()
        assert outside() <= before, "all is inside the lab, also while it runs"
    assert had.left() == []
    assert stays.wait(10) == -signal.SIGKILL, "as a worker of an ansible that was killed"
    assert outside() <= before
    assert lab.name not in state.names()
    lab.down()  # once more does no harm


MAKER = """
import signal, sys, time
from tests.lab.lab import Lab
signal.signal(signal.SIGINT, signal.SIG_DFL)  # what began in the background ignores it
lab = Lab.create()
lab.host("one").run_container("boss", "--restart", "always")
print(lab.name, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_lab_is_swept(lab_machine: None, sent: signal.Signals) -> None:
    """The lab of a process that was killed goes with the next sweep, from its record alone."""
    before = outside()
    maker = subprocess.Popen([sys.executable, "-c", MAKER], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    name = maker.stdout.readline().strip()
    had = Belongings(Lab.open(name))
    assert name not in sweep(), "its maker is alive"
    maker.send_signal(sent)
    maker.wait()
    maker.stdout.close()
    assert had.left()
    assert name in state.orphans()
    sweep()
    assert had.left() == []
    assert outside() <= before


def test_a_lab_without_record_is_taken_away(lab_machine: None) -> None:
    """Also where the record is lost, down finds what carries the lab's name."""
    lab = Lab.create()
    lab.host()
    had = Belongings(lab)
    (lab.directory / "state.json").unlink()
    state.down(state.LabState.load(lab.name))
    assert had.left() == []


def test_command_line_brings_up_and_takes_down(lab_machine: None) -> None:
    """`up` leaves careless servers and says what to type next; `down` takes them away."""
    name = f"rlab-cli{os.getpid()}"
    up = lab_command("up", "--hosts", "1", "--name", name)
    try:
        assert up.returncode == 0, up.stderr
        assert f"remediator plan -i {state.labs() / name}/inventory.yml -o plan.json" in up.stdout
        (host,) = Lab.open(name).hosts
        assert len(host.docker("ps", "--quiet").stdout.split()) == 7
        assert processes.until(lambda: "reached" in host.docker("logs", "shop").stdout, timeout=10)
        assert name not in sweep(), "it is meant to stay"
    finally:
        down = lab_command("down", name)
    assert down.returncode == 0, down.stderr
    assert name not in state.names()
