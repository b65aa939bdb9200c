"""The daemon's other settings: live-restore, logs, limits of files, registries."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from ..model import Change
from .verdict import Verdict, breaks, ruled_out, some, unknown
from .view import View


def live_restore(_change: Change, view: View) -> Verdict:
    """It excludes swarm mode, and nothing else that works today."""
    if view.state.about.get("swarm"):
        return breaks("swarm mode is on: the daemon does not start with both")
    return ruled_out("swarm mode is off, and nothing else depends on it")


def userns_remap(_change: Change, view: View) -> Verdict:
    """The data root becomes another one: what is there seems to be gone, and some containers cannot be made again."""
    names = [one.name for one in view.containers.values()]
    cut = [f"the images and containers of this host seem to be gone: {some(names)}"] if names else []
    refused = [
        one.name
        for one in view.containers.values()
        if one.host.get("Privileged") or "host" in (one.host.get("NetworkMode"), one.host.get("PidMode"))
    ]
    cut += [f"these cannot be made again as they are: {some(refused)}"] if refused else []
    return breaks(*cut) if cut else unknown("who owns the files in volumes")


def log_driver(change: Change, view: View) -> Verdict:
    """Containers made afterwards write no files on this host, and whoever reads those finds no new ones."""
    root = "/var/lib/docker"
    cut = [
        f"{one.name} reads log files by way of its mount of {mount['Source']}"
        for one in view.running
        for mount in one.document.get("Mounts", [])
        if mount.get("Source") in (root, f"{root}/containers")
    ]
    readers = view.surroundings.get("log_readers")
    cut += [f"{some(readers)} reads the log files of containers"] if readers else []
    options = view.daemon("log-opts", {})
    cached = not (isinstance(options, dict) and options.get("cache-disabled") == "true")
    major = str(view.state.about.get("engine", "")).split(".")[0]
    told = (
        "`docker logs` goes on to work from the engine's own cache"
        if cached and major.isdigit() and int(major) >= 20
        else "`docker logs` stops working for containers made afterwards",
    )
    if not (cached and major.isdigit() and int(major) >= 20):
        cut.append(f"`docker logs` of containers made afterwards, with {change.after}")
    return breaks(*cut, told=told) if cut else unknown("whether the new driver's address answers", told=told)


def ulimits(change: Change, view: View) -> Verdict:
    """A process that opens more files than the new default allows fails."""
    wanted: Any = change.after
    limit = wanted.get("nofile", {}).get("Hard", 0) if isinstance(wanted, dict) else 0
    if not limit:
        return unknown("only limits of open files are compared with use")
    own = [one for one in view.running if not any(u.get("Name") == "nofile" for u in one.host.get("Ulimits") or [])]
    most = {one.name: one.processes.get("handles") for one in own}
    cut = [
        f"a process in {name} has had room for {number} open files"
        for name, number in most.items()
        if (number or 0) > limit
    ]
    if cut:
        return breaks(*cut)
    if None in most.values():
        return unknown("the open files of some containers are not known")
    young = [one.name for one in own if not view.watched(one)]
    if young:
        return unknown(f"{some(young)} ran too short a time to know how many files they open")
    return ruled_out(
        f"no process in a container has opened more than {max([0, *(n or 0 for n in most.values())])} files"
    )


def registry(image: str) -> str:
    """The registry that an image's name stands for; docker.io without one."""
    head, slash, _ = image.partition("/")
    return head if slash and ("." in head or ":" in head or head == "localhost") else "docker.io"


def _covers(entry: str, name: str) -> bool | None:
    """Whether an entry of insecure-registries is about a registry; None where a name would have to be resolved."""
    if "/" not in entry:
        return entry == name
    host = name.rpartition(":")[0] or name
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return None if name != "docker.io" else False


def insecure_registries(change: Change, view: View) -> Verdict:
    """Pulls from registries that lose the exception fail, where they speak no TLS that this host trusts."""
    gone = [one for one in change.before or [] if one not in (change.after or [])]
    images = {*view.state.about.get("images", []), *(_image(one.document) for one in view.containers.values())}
    cut: list[str] = []
    unsure: list[str] = []
    for entry in gone:
        for image in sorted(one for one in images if one):
            if (covers := _covers(entry, registry(image))) is True:
                certificate = f"/etc/docker/certs.d/{registry(image)}/ca.crt"
                known = any(path.startswith(certificate) for path in view.state.facts.get("file", {}))
                (unsure if known else cut).append(f"pulls of {image} from {entry}")
            elif covers is None:
                unsure.append(f"pulls of {image}, if its registry's address is in {entry}")
    if cut:
        return breaks(*cut)
    if unsure:
        return unknown(*unsure)
    return ruled_out(f"no image on this host comes from {some([str(one) for one in gone])}")


def _image(document: dict[str, Any]) -> str:
    return str(document.get("Config", {}).get("Image", ""))


def content_trust(_change: Change, view: View) -> Verdict:
    """Clients up to 28 then refuse what is not signed; later ones ignore it."""
    version = str(view.state.about.get("cli", "")).split(".")[0]
    if not version.isdigit():
        return unknown("the version of the client is not known")
    if int(version) >= 29:
        return ruled_out("this client verifies nothing any more")
    images = sorted({_image(one.document) for one in view.containers.values() if _image(one.document)})
    tagged = [one for one in images if "@" not in one and not one.startswith("sha256:")]
    if tagged:
        return breaks(f"runs and pulls of {some(tagged)} by their tags, unless a notary has signed them")
    if not images:
        return unknown("no container shows which images are pulled here")
    return ruled_out("all images in use are named by digest")
