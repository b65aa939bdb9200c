"""Root trees: built once per generation, kept in a cache outside the repository, shared by all hosts."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import apt, recipe
from tests.lab.errors import LabError
from tests.lab.recipe import Generation

HERE = Path(__file__).parent
# what a bootstrap takes over from the machine; nor do two hosts share an identity
BORROWED = ("etc/apt/apt.conf.d/99mmdebstrap", "etc/resolv.conf", "etc/hostname", "var/lib/dbus/machine-id")
IMAGE_DIRECTORIES = {"bin": 0o755, "etc": 0o755, "data": 0o755, "root": 0o700, "tmp": 0o1777}


def cache() -> Path:
    """Where the trees are kept: REMEDIATOR_LAB_CACHE, else the user's cache directory."""
    if own := os.environ.get("REMEDIATOR_LAB_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remediator-lab"


def path(generation: Generation) -> Path:
    """The tree of this generation, by this recipe; it may not be built yet."""
    digest = hashlib.sha256(repr(generation).encode())
    for module in ("recipe.py", "trees.py"):
        digest.update((HERE / module).read_bytes())
    return cache() / f"{generation.name}-{digest.hexdigest()[:12]}"


def build(generation: Generation, *, rebuild: bool = False, in_use: Collection[Path] = ()) -> Path:
    """Give the tree of a generation, building it where it is missing; trees of older recipes go."""
    tree = path(generation)
    if tree.is_dir() and not rebuild:
        return tree
    with _locked(generation):
        if tree.is_dir():  # another builder was faster, or it is to be built anew
            if not rebuild:
                return tree
            if tree in in_use:
                raise LabError(f"{tree} is the root of running hosts: bring them down before the rebuild")
        for left in cache().glob(f".building-{generation.name}-*"):
            shutil.rmtree(left)
        work = Path(tempfile.mkdtemp(prefix=f".building-{generation.name}-", dir=cache()))
        try:
            root = work / "root"
            _bootstrap(generation, root)
            _install_newer(generation, root)
            _finish(root)
            if tree.is_dir():
                tree.rename(work / "old")
            root.rename(tree)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        for older in cache().glob(f"{generation.name}-*/"):
            if older != tree and older not in in_use:
                shutil.rmtree(older)
    return tree


@contextmanager
def _locked(generation: Generation) -> Iterator[None]:
    """Let only one process build this generation."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f".{generation.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bootstrap(generation: Generation, root: Path) -> None:
    """Unpack the suite of the generation into an empty directory."""
    mirror = apt.mirror()
    packages = ",".join(generation.packages)
    if shutil.which("mmdebstrap"):
        settings = root.parent / "apt.conf"
        settings.write_text(apt.transport_settings() + 'APT::Install-Recommends "false";\n')
        argv = ["mmdebstrap", "--mode=root", "--variant=apt", f"--include={packages}", f"--aptopt={settings}"]
        argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.LEFT_OUT]
        argv += [generation.suite, str(root), _source(mirror, generation.suite)]
    elif shutil.which("debootstrap"):
        argv = ["debootstrap", "--variant=minbase", f"--include={packages}", f"--keyring={apt.KEYRING}"]
        argv += [generation.suite, str(root), mirror]
    else:
        raise LabError("neither mmdebstrap nor debootstrap is installed: apt-get install mmdebstrap")
    _run(argv)


def _source(mirror: str, suite: str) -> str:
    return f"deb [signed-by={apt.KEYRING}] {mirror} {suite} main"


def _install_newer(generation: Generation, root: Path) -> None:
    """Install the engine of a newer suite; everything it does not need stays as it is."""
    if not generation.newer_suite:
        return
    suite = generation.newer_suite
    extra = {
        "etc/apt/sources.list.d/newer.list": _source(apt.mirror(), suite) + "\n",
        "etc/apt/preferences.d/newer": f"Package: *\nPin: release n={suite}\nPin-Priority: 100\n",
        "etc/apt/apt.conf.d/99lab": apt.transport_settings() + 'Acquire::Check-Valid-Until "false";\n',
        "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",  # start no service while installing
        "etc/resolv.conf": Path("/etc/resolv.conf").read_text(),
        "etc/hosts": Path("/etc/hosts").read_text(),
    }
    for name, text in extra.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    inside = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    install = ["install", "-y", "--no-install-recommends", "-t", suite, *generation.newer_packages]
    for command in (["update"], install, ["clean"]):
        _run([*inside, *command])
    for name in extra:
        (root / name).unlink()
    shutil.rmtree(root / "var/lib/apt/lists")
    (root / "var/lib/apt/lists/partial").mkdir(parents=True)


def _finish(root: Path) -> None:
    """Turn an unpacked suite into a server that can be booted: users, units, the container image."""
    for name, (mode, text) in recipe.FILES.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)
        target.chmod(mode)
    for left in [*(root / name for name in BORROWED), *(root / "etc/ssh").glob("ssh_host_*")]:
        left.unlink(missing_ok=True)
    _run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "admin"])
    units = root / "etc/systemd/system"
    for unit in recipe.MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (units / "default.target").unlink(missing_ok=True)
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    _pack_image(root)


def _pack_image(root: Path) -> None:
    """Pack the tree's own busybox as a container image, since the hosts reach no registry."""
    target = root / recipe.IMAGE_TAR
    target.parent.mkdir(parents=True, exist_ok=True)
    busybox = next(root / name for name in ("usr/bin/busybox", "bin/busybox") if (root / name).is_file())
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    with tarfile.open(target, "w") as tar:
        for directory, mode in IMAGE_DIRECTORIES.items():
            _add(tar, tarfile.DIRTYPE, directory, mode)
        _add(tar, tarfile.REGTYPE, "bin/busybox", 0o755, busybox.read_bytes())
        _add(tar, tarfile.REGTYPE, recipe.IMAGE_COMMAND.lstrip("/"), 0o755, recipe.IDLE.encode())
        for name, text in recipe.IMAGE_FILES.items():
            _add(tar, tarfile.REGTYPE, name, 0o644, text.encode())
        for applet in sorted(set(applets) - {"busybox"}):
            _add(tar, tarfile.SYMTYPE, f"bin/{applet}", 0o777, link="busybox")


def _add(tar: tarfile.TarFile, kind: bytes, name: str, mode: int, data: bytes = b"", link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.type, member.linkname, member.size = mode, kind, link, len(data)
    tar.addfile(member, io.BytesIO(data))


def _run(argv: list[str]) -> None:
    """Run a builder in namespaces of its own, and end it with us: no mount or process outlives a crash."""
    apart = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    words = [*apart, "--mount-proc", *argv]
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise LabError(f"{argv[0]} ended with {done.returncode}:\n{done.stderr[-3000:]}")
