"""What each change of a finding would break here, and its safety adjusted by that. Pure, like all above the probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ..model import Change, Disruption, Finding, Safety
from . import access, bridge, daemon, limits, namespaces, privileges, restart, rootfs
from .verdict import NOTHING, Verdict, applied, merged, unknown
from .view import View

Subject = Callable[[Change, View], Verdict]

SUBJECTS: Final[Mapping[tuple[str, str], Subject]] = {
    ("daemon", "/icc"): bridge.icc,
    ("daemon", "/userland-proxy"): bridge.userland_proxy,
    ("daemon", "/live-restore"): daemon.live_restore,
    ("daemon", "/log-driver"): daemon.log_driver,
    ("daemon", "/default-ulimits"): daemon.ulimits,
    ("daemon", "/userns-remap"): daemon.userns_remap,
    ("daemon", "/insecure-registries"): daemon.insecure_registries,
    ("daemon", "/no-new-privileges"): privileges.default_no_new_privileges,
    ("container", "/HostConfig/CapAdd"): privileges.capabilities,
    ("container", "/HostConfig/Privileged"): privileges.privileged,
    ("container", "/HostConfig/SecurityOpt"): privileges.security_options,
    ("container", "/HostConfig/ReadonlyRootfs"): rootfs.readonly,
    ("container", "/HostConfig/Memory"): limits.memory,
    ("container", "/HostConfig/PidsLimit"): limits.pids,
    ("container", "/HostConfig/CpuShares"): limits.cpu,
    ("container", "/HostConfig/RestartPolicy"): restart.policy,
    ("container", "/HostConfig/NetworkMode"): bridge.network,
    ("container", "/HostConfig/PidMode"): namespaces.pid,
    ("container", "/HostConfig/IpcMode"): namespaces.ipc,
    ("container", "/HostConfig/UTSMode"): namespaces.uts,
    ("container", "/HostConfig/UsernsMode"): namespaces.userns,
    ("env", "/DOCKER_CONTENT_TRUST"): daemon.content_trust,
    ("file", "/mode"): access.file,
    ("file", "/owner"): access.file,
    ("group", "/members"): access.group,
}


_UNSEEN: Final = unknown("nothing that is seen on a host tells who relies on it")
_MUTE: Final = unknown("the engine does not say what it runs")


def adjusted(found: Finding, view: View) -> Finding:
    """The finding with what its changes would break as evidence, and their safety by it.

    Changes that go together share the verdict of the one that decides. Only what was seen on the host that
    runs is judged: on a file tree, or without an answer of the engine, every change keeps its static class.
    """
    if not view.seen or not found.changes:
        return found
    deciding, judge = _subject(found)
    if judge is not None and (view.answered or found.kind == "file"):
        verdict = judge(deciding, view)
    else:
        verdict = NOTHING if deciding.safety in (Safety.SAFE, Safety.MANUAL) else _MUTE if judge else _UNSEEN
    if found.kind == "daemon" and any(one.disruption >= Disruption.RESTART for one in found.changes):
        verdict = merged([verdict, restart.lost(view)], told=restart.stops(view))
    if verdict == NOTHING:
        return found
    changes = tuple([applied(one, verdict, tell=one is deciding) for one in found.changes])
    return msgspec.structs.replace(found, changes=changes)


def _subject(found: Finding) -> tuple[Change, Subject | None]:
    """The change that decides, and what judges it: the first one where nothing does."""
    for one in found.changes:
        if judge := SUBJECTS.get((one.kind, one.path)):
            return one, judge
    return found.changes[0], None
