"""The one probe: reads a host and returns raw evidence as a JSON document. It changes nothing.

It runs in-process for this host and for a file tree, and on other hosts by way of Ansible, so it is
standard library only and works on Python 3.8. What leaves the host is only what judging needs: secrets
in files are masked by characters of the same number (so that positions hold), and values of container
environment variables are never read.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import grp
import hashlib
import json
import os
import platform
import pwd
import re
import stat
import subprocess
import time
from typing import Any, Callable

MAX_TEXT = 1024 * 1024  # bytes; a configuration file larger than this is not read
MASK = "*"
UNIT_DIRS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
BIN_DIRS = (
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/libexec/docker",
)
ENV_FILES = ("/etc/default/docker", "/etc/sysconfig/docker")
INIT_SCRIPT = "/etc/init.d/docker"
_OPTION_LINES = r"OPT|DOCKER|--"
_SCRIPT_LINES = r"OPT|BASE=|other_args|/etc/(default|sysconfig)/"
DEFAULT_CONFIG = "/etc/docker/daemon.json"
SOCKET = "/run/docker.sock"

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
_NAMES = r"(?:token|passw|secret|credential|api[-_]?key|access[-_]?key)"
# repetitions before and after a name have an end, or a long line could keep the probe busy for hours
_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r'("[^"\\]{0,99}%s[^"\\]{0,99}"\s*:\s*")((?:[^"\\]|\\.)*)' % _NAMES,
        r'(:(?:\\?/){2})([^/\s"]+)(?=@)',
        # "NAME=a b", NAME="a b", NAME=a; a backslash and what it escapes belong together
        r'("[\w.-]{0,99}%s[\w-]{0,99}=)((?:\\.|[^"\\\n])+)(?=")' % _NAMES,
        r"('[\w.-]{0,99}%s[\w-]{0,99}=)((?:\\.|[^'\\\n])+)(?=')" % _NAMES,
        r'(%s[\w-]{0,99}=")((?:\\.|[^"\\\n])+)(?=")' % _NAMES,
        r"(%s[\w-]{0,99}=')((?:\\.|[^'\\\n])+)(?=')" % _NAMES,
        r"""(%s[\w-]{0,99}=)((?:\\.|[^\s'"\\])+)""" % _NAMES,
    )
)


class Tree:
    """The files of a host: its root directory, with links resolved inside it."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root)
        self._own = self.root != "/"
        self.misnamed: set[str] = set()  # paths that are not UTF-8, as they are spelled instead
        owner = os.stat(self.root)
        self._base = (owner.st_uid, owner.st_gid) if self._own else (0, 0)
        self._users = self._names("/etc/passwd") if self._own else {}
        self._groups = self._names("/etc/group") if self._own else {}

    def path(self, path: str) -> str:
        """Where a path of the host stands on this machine; raises OSError for what can be no path."""
        try:
            if b"\0" in os.fsencode(path):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        except UnicodeEncodeError:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path) from None
        return os.path.join(self.root, path.lstrip("/")) if self._own else path

    def strays(self, path: str) -> bool:
        """Whether this machine would follow the links of a path of the tree to a place outside of it."""
        inside = os.path.join(os.path.realpath(self.root), self.resolve(path).lstrip("/"))
        return self._own and os.path.realpath(self.path(path)) != os.path.normpath(inside)

    def resolve(self, path: str) -> str:
        """A path of the host with all links followed inside the tree; raises OSError on a loop."""
        rest = [part for part in path.split("/") if part and part != "."]
        done: list[str] = []
        links = 0
        while rest:
            part = rest.pop(0)
            if part == "..":
                done = done[:-1]
                continue
            here = "/" + "/".join(done + [part])
            try:
                target = os.readlink(self.path(here))
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > 40:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                done = []
            rest = [one for one in target.split("/") if one and one != "."] + rest
        return "/" + "/".join(done)

    def glob(self, pattern: str) -> list[str]:
        """The host's paths that match a pattern, sorted."""
        found = [""]
        for part in pattern.strip("/").split("/"):
            if not glob.has_magic(part):
                found = [one + "/" + part for one in found]
                continue
            found, folders = [], found
            for one in folders:
                try:
                    names = os.listdir(self.path(self.resolve(one)))
                except OSError:
                    continue
                found += [one + "/" + name for name in fnmatch.filter(names, part) if not name.startswith(".")]
        there = [one for one in found if self.exists(one)]
        spelled = [one.encode("utf-8", "backslashreplace").decode() for one in there]
        self.misnamed.update(new for new, one in zip(spelled, there) if new != one)
        return sorted(spelled)

    def exists(self, path: str) -> bool:
        try:
            os.lstat(self.path(self.resolve(path)))
        except OSError:
            return False
        return True

    def _names(self, path: str) -> dict[int, str]:
        names: dict[int, str] = {}
        for line in read_text(self, path).split("\n"):
            fields = line.split(":")
            if len(fields) > 2 and fields[2].isdecimal():
                names.setdefault(int(fields[2]), fields[0])
        return names

    def owner(self, uid: int, gid: int) -> str:
        """ "user:group" by the host's own names; in a file tree its owner stands for root."""
        if self._own:
            uid = 0 if uid == self._base[0] else uid
            gid = 0 if gid == self._base[1] else gid
            user = "root" if uid == 0 else self._users.get(uid, str(uid))
            return user + ":" + ("root" if gid == 0 else self._groups.get(gid, str(gid)))
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = str(uid)
        try:
            group = grp.getgrgid(gid).gr_name
        except KeyError:
            group = str(gid)
        return user + ":" + group


def mask(text: str, keep: str | None = None, character: str = MASK) -> str:
    """The text with secrets replaced by as many mask characters.

    With `keep` (a regular expression) all lines that it does not find are masked whole.
    """
    if keep is not None:
        kept = re.compile(keep)
        lines = text.split("\n")
        text = "\n".join(one if kept.search(one) else re.sub(r"\S", MASK, one) for one in lines)
    for pattern in _SECRETS:
        text = pattern.sub(lambda one: str(one.group(1)) + character * len(one.group(2)), text)
    return text


def _failure(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def read_file(
    tree: Tree, path: str, text: bool = False, keep: str | None = None, masker: Callable[[str], str] | None = None
) -> dict[str, Any]:
    """What one file is: type, mode, owner, and on request its text (UTF-8, masked) and SHA-256.

    The text is masked by `masker`, or by `mask` with `keep`.
    """
    evidence: dict[str, Any] = {}
    if path in tree.misnamed:
        return {"type": "unknown", "error": "its name is not UTF-8"}
    try:
        if tree.strays(os.path.dirname(path)):
            return {"type": "unknown", "error": "behind a link that leads out of the tree"}
        info = os.lstat(tree.path(path))
    except (FileNotFoundError, NotADirectoryError):
        return {"type": "absent"}
    except OSError as error:
        return {"type": "unknown", "error": _failure(error)}
    evidence["type"] = _TYPES.get(stat.S_IFMT(info.st_mode), "unknown")
    try:
        real = tree.resolve(path)
        if evidence["type"] == "link":
            evidence["target"] = real
            info = os.stat(tree.path(real))
            evidence["target_type"] = _TYPES.get(stat.S_IFMT(info.st_mode), "unknown")
        elif real != path:
            evidence["real"] = real
    except OSError as error:
        evidence["error"] = "link that leads nowhere: " + _failure(error)
        return evidence
    evidence.update(
        mode="%04o" % stat.S_IMODE(info.st_mode),
        owner=tree.owner(info.st_uid, info.st_gid),
        size=info.st_size,
        changed=round(info.st_mtime, 2),
    )
    if text and evidence.get("target_type", evidence["type"]) == "file":
        evidence.update(_content(tree.path(real), masker or (lambda plain: mask(plain, keep))))
    return evidence


def _content(path: str, masker: Callable[[str], str]) -> dict[str, Any]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_TEXT + 1)
    except OSError as error:
        return {"error": _failure(error)}
    if len(data) > MAX_TEXT:
        return {"error": "larger than %d MiB: not read" % (MAX_TEXT // 2**20)}
    found: dict[str, Any] = {"sha256": hashlib.sha256(data).hexdigest()}
    try:
        plain = data.decode("utf-8")
    except UnicodeDecodeError as error:
        found["error"] = "not UTF-8 at byte %d" % error.start
        return found
    found["text"] = masker(plain)
    if found["text"] != plain:
        found["masked"] = True
    return found


# --- the daemon -------------------------------------------------------------------------------------


def _read(path: str, limit: int = MAX_TEXT) -> str:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except (OSError, TypeError):  # TypeError: nothing to read from a pipe
        return ""


def read_text(tree: Tree, path: str, limit: int = MAX_TEXT) -> str:
    """The text of a file of the host up to a limit in bytes; "" for what cannot be read."""
    try:
        return _read(tree.path(tree.resolve(path)), limit)
    except OSError:
        return ""


def find_daemon(tree: Tree) -> dict[str, Any] | None:
    """The running dockerd of this mount namespace: pid, argv (masked), start (seconds since the epoch)."""
    if tree.root != "/":
        return None
    try:
        own = os.readlink("/proc/self/ns/mnt")
    except OSError:
        own = ""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or _read("/proc/%s/comm" % entry).strip() != "dockerd":
            continue
        try:
            if own and os.readlink("/proc/%s/ns/mnt" % entry) != own:
                continue
        except OSError:
            pass  # without permission: the pid file decides
        argv = _read("/proc/%s/cmdline" % entry).rstrip("\0").split("\0")
        fields = _read("/proc/%s/stat" % entry).rpartition(")")[2].split()
        if len(fields) < 20 or not argv[0]:
            continue
        age = float(_read("/proc/uptime").split()[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        found.append({"pid": int(entry), "argv": [mask(one) for one in argv], "started": time.time() - age})
    pid = _read("/run/docker.pid").strip()
    named = [one for one in found if str(one["pid"]) == pid]
    chosen = named or found
    return chosen[0] if chosen else None


def option(argv: list[str], name: str) -> str | None:
    """The value of one `--name value` or `--name=value` in a command line, the last one given."""
    value = None
    for index, word in enumerate(argv):
        if word == "--" + name and index + 1 < len(argv):
            value = argv[index + 1]
        elif word.startswith("--" + name + "="):
            value = word.partition("=")[2]
    return value


def _setting(document: Any, argv: list[str], name: str) -> str | None:
    value = option(argv, name)
    if value is None and isinstance(document, dict):
        value = document.get(name)
    return value if isinstance(value, str) and value.startswith("/") and value.isprintable() else None


def _words(text: str) -> list[str]:
    """All words of the lines that may hold daemon options, quotes taken off."""
    lines = text.replace("\\\n", " ").split("\n")
    return (
        " ".join(one for one in lines if not one.lstrip().startswith("#")).replace('"', " ").replace("'", " ").split()
    )


def unit_file(tree: Tree, name: str) -> str | None:
    """The path of the unit file that systemd would load for a unit name."""
    for folder in UNIT_DIRS:
        if tree.exists(folder + "/" + name):
            return folder + "/" + name
    return None


def drop_ins(tree: Tree, name: str) -> list[str]:
    """The drop-in files of a unit in the order in which systemd reads them (by file name)."""
    found: dict[str, str] = {}
    for folder in reversed(UNIT_DIRS):
        for path in tree.glob(folder + "/" + name + ".d/*.conf"):
            found[os.path.basename(path)] = path
    return [found[key] for key in sorted(found)]


def tokens(tree: Tree, argv: list[str], document: Any) -> dict[str, list[str]]:
    """The paths behind the tokens that controls use for what differs from host to host."""
    found = {"{daemon:config-file}": [option(argv, "config-file") or DEFAULT_CONFIG]}
    for name, default in (
        ("tlscacert", ""),
        ("tlscert", ""),
        ("tlskey", ""),
        ("data-root", "/var/lib/docker"),
    ):
        path = _setting(document, argv, name) or default
        found["{daemon:%s}" % name] = [path] if path else []
    for name in ("docker.service", "docker.socket"):
        path = unit_file(tree, name) or ""
        found["{unit:%s}" % name] = [path] if path else []
    for name in (
        "dockerd",
        "containerd",
        "containerd-shim",
        "containerd-shim-runc-v1",
        "containerd-shim-runc-v2",
        "runc",
    ):
        paths = [folder + "/" + name for folder in BIN_DIRS]
        found["{binary:%s}" % name] = _distinct(tree, paths)[:1]
    found["{registry-certs}"] = tree.glob("/etc/docker/certs.d/*/*")
    sockets = [word.partition("unix://")[2] for word in argv if "unix://" in word]
    hosts = document.get("hosts") if isinstance(document, dict) else None
    listed = hosts if isinstance(hosts, list) else []
    sockets += [one[len("unix://") :] for one in listed if isinstance(one, str) and one.startswith("unix://")]
    sockets = _distinct(tree, [one or SOCKET for one in sockets] or [SOCKET])
    found["{socket}"] = sorted(sockets, key=lambda one: one != SOCKET)
    candidates = ["/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"]
    found["{containerd-socket}"] = _distinct(tree, [option(argv, "containerd") or candidates[0], *candidates])[:1]
    return found


_PATH_KEYS = (
    "seccomp-profile", "tlscacert", "tlscert", "tlskey", "init-path", "userland-proxy-path", "data-root", "exec-root",
)  # fmt: skip


def named(tree: Tree, argv: list[str], document: Any) -> dict[str, dict[str, Any]]:
    """What stands where the daemon's options point: files by path, the user of userns-remap, the socket's group."""
    given = document if isinstance(document, dict) else {}
    runtimes = given.get("runtimes")
    runtimes = runtimes.values() if isinstance(runtimes, dict) else ()
    paths = [option(argv, key) or given.get(key) for key in _PATH_KEYS]
    paths += [one.get("path") for one in runtimes if isinstance(one, dict)]
    bridge, user, group = (option(argv, key) or given.get(key) for key in ("bridge", "userns-remap", "group"))
    if isinstance(bridge, str) and re.match(r"[\w.-]{1,15}$", bridge) and tree.root == "/":
        paths.append("/sys/class/net/" + bridge)
    found: dict[str, dict[str, Any]] = {"paths": {}, "users": {}, "groups": {}}
    for path in paths:
        if isinstance(path, str) and path.startswith("/") and path.isprintable() and MASK not in path:
            file = read_file(tree, path)
            found["paths"][path] = file.get("target_type", file["type"])
    if isinstance(user, str) and user.isprintable() and user:
        name = user.split(":")[0]
        ranges = [line.split(":")[0] for line in read_text(tree, "/etc/subuid").splitlines()]
        found["users"][name] = {"known": _known(tree, "/etc/passwd", name), "ranges": name.isdigit() or name in ranges}
    if isinstance(group, str) and group.isprintable() and group:
        found["groups"][group] = _known(tree, "/etc/group", group)
    return found


def _known(tree: Tree, path: str, name: str) -> bool:
    """Whether a user or group is there, by name or number; on this host also those that are not in the file."""
    lines = [line.split(":") for line in read_text(tree, path).splitlines()]
    if name.isdigit() or any(name in (fields[0], (fields + ["", ""])[2]) for fields in lines):
        return True
    try:
        return tree.root == "/" and bool(pwd.getpwnam(name) if path == "/etc/passwd" else grp.getgrnam(name))
    except (KeyError, ValueError):
        return False


def _distinct(tree: Tree, paths: list[str]) -> list[str]:
    kept: dict[str, str] = {}
    for path in paths:
        if tree.exists(path):
            kept.setdefault(tree.resolve(path), path)
    return [real if real.startswith("/run/") else path for real, path in kept.items()]


def _partition(tree: Tree, path: str) -> bool | None:
    """Whether a directory is a mount point of its own; None where it is not there or not to be seen."""
    try:
        here = os.lstat(tree.path(tree.resolve(path)))
        above = os.lstat(tree.path(os.path.dirname(tree.resolve(path))))
    except OSError:
        return None
    if here.st_dev != above.st_dev:
        return True
    return tree.root == "/" and any(
        line.split()[4] == tree.resolve(path) for line in _read("/proc/self/mountinfo").splitlines()
    )


def _group_members(tree: Tree, name: str) -> list[str] | None:
    for line in read_text(tree, "/etc/group").split("\n"):
        fields = line.split(":")
        if fields[0] == name and len(fields) > 3:
            return [one for one in fields[3].split(",") if one]
    return None


def _accounts(tree: Tree) -> dict[str, Any]:
    """The local groups that have members, primary ones among them, and the users who can log in."""
    names: dict[str, str] = {}
    groups: dict[str, set[str]] = {}
    for line in read_text(tree, "/etc/group").split("\n"):
        fields = line.split(":")
        if len(fields) > 3:
            names[fields[2]] = fields[0]
            groups[fields[0]] = {one for one in fields[3].split(",") if one}
    logins = []
    for line in read_text(tree, "/etc/passwd").split("\n"):
        fields = line.split(":")
        if len(fields) > 6:
            groups.setdefault(names.get(fields[3], fields[3]), set()).add(fields[0])
            if not fields[6].endswith(("/nologin", "/false", "/sync")) and fields[2] != "0":
                logins.append(fields[0])
    return {"groups": {name: sorted(some) for name, some in sorted(groups.items()) if some}, "logins": sorted(logins)}


# --- all of it --------------------------------------------------------------------------------------


def _about(tree: Tree) -> dict[str, Any]:
    release = {}
    for line in read_text(tree, "/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        release[key] = value.strip("\"'")
    about: dict[str, Any] = {
        "hostname": read_text(tree, "/etc/hostname").strip(),
        "machine_id": read_text(tree, "/etc/machine-id").strip(),
        "os": release.get("PRETTY_NAME", ""),
        "init": "systemd" if tree.exists("/run/systemd/system") else "other",
        "commands": sorted(
            name
            for name in ("docker", "dockerd", "auditctl", "augenrules", "systemctl", "service")
            if any(tree.exists(folder + "/" + name) for folder in BIN_DIRS)
        ),
    }
    if tree.root == "/":
        about.update(hostname=platform.node(), kernel=platform.release(), python=platform.python_version())
        about["apparmor"] = _read("/sys/module/apparmor/parameters/enabled").startswith("Y")
        about["selinux"] = os.path.exists("/sys/fs/selinux/enforce")
        match = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
        about["memory"] = int(match.group(1)) * 1024 if match else 0
    return about


def _cli_version() -> str:
    try:
        done = subprocess.run(
            ["docker", "--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    match = re.search(r"\d+\.\d+\.\d+", done.stdout.decode("utf-8", "replace"))
    return match.group(0) if match else ""


def _needed_files(tree: Tree, request: dict[str, Any], paths: dict[str, list[str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for need in request.get("read", []):
        for path in paths.get(need["path"]) or tree.glob(need["path"]):
            shown = path.encode("utf-8", "backslashreplace").decode()
            if shown != path:
                found[shown] = {"type": "unknown", "error": "its name is not UTF-8"}
                continue
            if need.get("having") and need["having"] not in read_text(tree, path):
                continue
            found[path] = read_file(tree, path, text=True, keep=need.get("keep"))
        if not glob.has_magic(need["path"]) and "{" not in need["path"]:
            found.setdefault(need["path"], {"type": "absent"})
    for name in request.get("stat", []):
        for path in paths.get(name, []) if name.startswith("{") else [name]:
            if path not in found:
                found[path] = read_file(tree, path)
    return found


def collect(request: dict[str, Any], engine: Any = None) -> dict[str, Any]:
    """The evidence that a request asks for.

    request: {root: path, read: [{path: path, pattern or token, keep: regex, having: text}], stat: [path or
    token]}. engine: an object whose `collect(path of its socket)` gives {info, bridge, containers} or {error}.
    """
    tree = Tree(request.get("root", "/"))
    daemon = find_daemon(tree)
    units = {
        name: [one for one in [unit_file(tree, name)] if one] + drop_ins(tree, name)
        for name in ("docker.service", "docker.socket")
    }
    texts: dict[str, Any] = {}
    for path in [one for some in units.values() for one in some]:
        texts[path] = read_file(tree, path, text=True)
    written = "\n".join(str(one.get("text", "")) for one in texts.values())
    own = [one for one in re.findall(r"^[ \t]*EnvironmentFile=-?(/\S+)", written, re.MULTILINE) if tree.exists(one)]
    for path in [*(one for one in ENV_FILES if tree.exists(one)), *own]:
        texts[path] = read_file(tree, path, text=True, keep=_OPTION_LINES)
    if tree.exists(INIT_SCRIPT):
        texts[INIT_SCRIPT] = read_file(tree, INIT_SCRIPT, text=True, keep=_SCRIPT_LINES)
    options = [str(one.get("text", "")) for path, one in texts.items() if path != INIT_SCRIPT]
    argv = daemon["argv"] if daemon else _words("\n".join(options))
    config = option(argv, "config-file") or DEFAULT_CONFIG
    config_evidence = read_file(tree, config, text=True)
    try:
        document = json.loads(config_evidence.get("text") or "null")
    except (ValueError, RecursionError):
        document = None
    paths = tokens(tree, argv, document)
    files = _needed_files(tree, request, paths)
    files.update(texts)
    files[config] = config_evidence
    about = _about(tree)
    if tree.root == "/":
        about["cli"] = _cli_version()
    return {
        "collected_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "root": tree.root,
        "about": about,
        "paths": paths,
        "units": units,
        "daemon": daemon,
        "named": named(tree, argv, document),
        "files": files,
        "data_root_mount": _partition(tree, paths["{daemon:data-root}"][0]),
        "docker_group": _group_members(tree, "docker"),
        "accounts": _accounts(tree),
        "engine": engine.collect((paths["{socket}"] or [SOCKET])[0])
        if engine is not None
        else {"error": "no engine data"},
    }


def main() -> None:
    """Print the evidence for the request on standard input, both JSON."""
    import sys

    json.dump(collect(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
