"""A lab: a network namespace with a bridge in it, and servers on that bridge."""

from __future__ import annotations

import ipaddress
import os
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from tests.lab import inventory, machine, recipe, state, trees
from tests.lab.errors import LabError
from tests.lab.host import BRIDGE, PREFIX_LENGTH, Host
from tests.lab.processes import Process
from tests.lab.state import PREFIX, HostState, LabState

NEWEST_SETTLED = "26.1"
# outside the pools from which Docker takes its networks; the same in every lab, each has its own namespace
FIRST_ADDRESS = ipaddress.IPv4Address("10.78.0.1")


class Lab:
    """Servers for tests. As a context manager it takes everything away at the end."""

    def __init__(self, record: LabState) -> None:
        self._record = record
        self._hosts = {name: Host(record, host) for name, host in record.hosts.items()}

    @classmethod
    def create(cls, name: str = "", *, keep: bool = False) -> Lab:
        """Make an empty lab; with `keep` it outlives this process, else the next `sweep()` takes it."""
        owner = Process.of(os.getpid())
        assert owner is not None
        record = LabState(PREFIX + (name.removeprefix(PREFIX) or secrets.token_hex(3)), owner, keep)
        if record.name in state.names():
            raise LabError(f"{record.name} exists: take it down first")
        record.directory.mkdir(mode=0o700, parents=True)
        record.save()
        lab = cls(record)
        try:
            lab._make_network()
            key = record.directory / "id_ed25519"
            _make_key(key, f"{record.name} lab")
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def open(cls, name: str) -> Lab:
        """An existing lab, made by this or another process."""
        if name not in state.names():
            raise LabError(f"there is no lab {name}; there are: {', '.join(state.names()) or 'none'}")
        return cls(LabState.load(name))

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    @property
    def name(self) -> str:
        """The lab's name, which all it makes on the machine carries."""
        return self._record.name

    @property
    def directory(self) -> Path:
        """The lab's files, its record `state.json` among them."""
        return self._record.directory

    @property
    def netns(self) -> Path:
        """The lab's network namespace: `nsenter --net=PATH` enters it."""
        return self._record.netns

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The lab's servers, in the order in which they were made."""
        return tuple(self._hosts.values())

    def host(self, name: str = "", generation: str = NEWEST_SETTLED, *, start: bool = True) -> Host:
        """Make a server; it is ready on return, or not even started."""
        (host,) = self.host_group([(name, generation)], start=start)
        return host

    def host_group(self, wanted: Iterable[tuple[str, str]], *, start: bool = True) -> list[Host]:
        """Make several servers, given as (name or "", generation), which boot at the same time."""
        hosts = [self._make_host(name, generation) for name, generation in wanted]
        if start:
            for host in hosts:
                host.start()
            for host in hosts:
                host.wait_ready()
        return hosts

    def remove(self, host: Host) -> None:
        """Take one server away, with its files."""
        host.kill()
        shutil.rmtree(self._record.host_directory(host.name))
        del self._hosts[host.name], self._record.hosts[host.name]
        self._record.save()
        self._write_known_hosts()

    def inventory(self, user: str = "root") -> Path:
        """Write an Ansible inventory of all hosts; for another user than root it says how to become root."""
        return inventory.write(self.directory, self.netns, self.hosts, user)

    def down(self) -> None:
        """Take everything away: hosts, network, cgroups, files."""
        for host in self.hosts:
            host.kill()
        state.down(self._record)
        self._hosts.clear()

    def _make_network(self) -> None:
        """A namespace kept by a file, not by `ip netns`: that one leaves a mount on the machine."""
        self.netns.touch()
        _run("unshare", f"--net={self.netns}", "true")
        inside = ("nsenter", f"--net={self.netns}", "ip")
        _run(*inside, "link", "add", BRIDGE, "type", "bridge")
        _run(*inside, "address", "add", f"{FIRST_ADDRESS}/{PREFIX_LENGTH}", "dev", BRIDGE)
        for link in ("lo", BRIDGE):
            _run(*inside, "link", "set", link, "up")

    def _make_host(self, name: str, generation: str) -> Host:
        """Lay out the files of a server: what differs between two hosts of the same tree."""
        if generation not in recipe.GENERATIONS:
            raise LabError(f"no engine generation {generation}; there are: {', '.join(recipe.GENERATIONS)}")
        number = self._record.made + 1
        name = name or f"{recipe.GENERATIONS[generation].slug}-{number}"
        if name in self._hosts:
            raise LabError(f"{self.name} has a host {name} already")
        tree = trees.build(recipe.GENERATIONS[generation], in_use=state.trees_in_use())
        record = HostState(name, generation, str(FIRST_ADDRESS + 10 + number), str(tree))
        self._record.made, self._record.hosts[name] = number, record
        self._record.save()
        directory = self._record.host_directory(name)
        for part in ("upper", "work", "root", "docker", "containerd"):
            (directory / part).mkdir(parents=True)
        self._furnish(directory / "upper", name)
        self._hosts[name] = Host(self._record, record)
        self._write_known_hosts()
        return self._hosts[name]

    def _furnish(self, upper: Path, name: str) -> None:
        """Put name, identity and keys into the host's own layer, with the owners the tree gives them."""
        tree = Path(self._record.hosts[name].tree)
        _copy_directory(tree, upper, "etc")
        (upper / "etc/hostname").write_text(f"{name}\n")
        (upper / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n")
        (upper / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        _copy_directory(tree, upper, "etc/ssh")
        _make_key(upper / "etc/ssh/ssh_host_ed25519_key", f"root@{name}")
        for home in ("root", "home/admin"):
            _copy_directory(tree, upper, home)
            owner = (tree / home).stat()
            keys = upper / home / ".ssh/authorized_keys"
            keys.parent.mkdir(mode=0o700)
            shutil.copyfile(self.directory / "id_ed25519.pub", keys)
            for path in (keys.parent, keys):
                os.chown(path, owner.st_uid, owner.st_gid)
        if not machine.may_raise_limits():
            _copy_directory(tree, upper, "usr/local/sbin")
            wrapper = upper / "usr/local/sbin/runc"
            shutil.copyfile(Path(__file__).with_name("runc_wrapper.py"), wrapper)
            wrapper.chmod(0o755)

    def _write_known_hosts(self) -> None:
        """Collect the hosts' keys from their files: nothing has to be trusted at first sight."""
        lines = []
        for host in self.hosts:
            directory = self._record.host_directory(host.name)
            key = (directory / "upper/etc/ssh/ssh_host_ed25519_key.pub").read_text()
            lines.append(f"{host.ip},{host.name} {' '.join(key.split()[:2])}\n")
        (self.directory / "known_hosts").write_text("".join(lines))


def sweep() -> list[str]:
    """Take away the labs whose maker was killed; their names."""
    gone = state.orphans()
    for name in gone:
        state.down(LabState.load(name))
    return gone


def _copy_directory(tree: Path, upper: Path, name: str) -> None:
    """Make a directory in an upper layer, and those above it, as the tree has them."""
    for path in [*reversed(Path(name).parents), Path(name)]:
        seen, target = (tree / path).stat(), upper / path
        if path != Path() and not target.exists():
            target.mkdir()
            os.chown(target, seen.st_uid, seen.st_gid)
            target.chmod(seen.st_mode & 0o7777)


def _make_key(path: Path, comment: str) -> None:
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
