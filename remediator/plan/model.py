"""The plan as a document: the whole truth of what apply will do."""

from __future__ import annotations

from typing import Any

from ..baseline import BaselineFile
from ..model import (
    FORMAT_VERSION,
    Attributes,
    Change,
    Check,
    Disruption,
    FileEdit,
    Finding,
    HostId,
    LiveUpdate,
    Model,
    Recreate,
    Safety,
)


class Policy(Model, frozen=True):
    """What a plan may do: the least safety that is made, and the most disruption.

    With `defer` settings of the daemon that need more of it are written, and left pending until it is next started.
    """

    fix: Safety = Safety.SAFE
    max_disruption: Disruption = Disruption.RELOAD
    defer: bool = False


class Held(Model, frozen=True):
    """A finding that fails and whose changes will not run, with the reason."""

    finding: Finding
    reason: str


class Activation(Model, frozen=True):
    """How the daemon takes up its configuration: `action` is none, reload or restart.

    With `reload_first` live-restore is switched on by a reload before the restart. `stop` names the
    containers that are stopped before it, so that the bridge's new options take effect; `start` those
    that run now and are started again where the restart leaves them stopped. `started` is when the
    daemon that the plan saw was started (seconds since the epoch); `pending` are the keys of daemon.json
    that a mere reload, or none, leaves to the next restart. `expect` is what the engine shows afterwards (see
    kinds.daemon.shown), `defaults` the engine's values of keys that are added, for the way back;
    `sources` are edited files of the daemon's command line. A `manager` of a swarm is restarted only with a quorum of
    the others, and drained before.
    `temporary` are the containers that run with --rm, which a restart may remove.
    With `reload_units` systemd reads its units anew before the restart. `validate` is an argument list that
    tries the new configuration with the engine's own program before anything is activated: its last word,
    CANDIDATE, stands for the path of the new daemon.json; empty where the engine cannot do that, or its command
    line is not known to the letter. `deferred` are the keys that are written and not taken up, each with what the
    engine would show of it.
    """

    action: str = "none"
    config: str = ""
    reload_first: bool = False
    awaited: bool = False
    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    started: float = 0.0
    pending: tuple[str, ...] = ()
    systemd: bool = True
    docker: tuple[str, ...] = ("docker",)
    expect: tuple[dict[str, Any], ...] = ()
    defaults: dict[str, Any] = {}
    sources: tuple[str, ...] = ()
    manager: bool = False
    temporary: tuple[str, ...] = ()
    reload_units: bool = False
    validate: tuple[str, ...] = ()
    deferred: tuple[dict[str, Any], ...] = ()


class Steps(Model, frozen=True):
    """Everything that apply does on one host, in the order of the playbook.

    `unchanged` are files that are not edited and have to be as they were seen: path and SHA-256. `checks` try edited
    files before anything takes effect.
    """

    files: tuple[FileEdit, ...] = ()
    attributes: tuple[Attributes, ...] = ()
    load_audit_rules: bool = False
    updates: tuple[LiveUpdate, ...] = ()
    activation: Activation = Activation()
    unchanged: dict[str, str] = {}
    recreates: tuple[Recreate, ...] = ()
    checks: tuple[Check, ...] = ()

    def __bool__(self) -> bool:
        some = self.files or self.attributes or self.load_audit_rules or self.updates or self.recreates
        return bool(some) or self.activation.action != "none"


class Texts(Model, frozen=True):
    """What a plan says once of a control: its title, what a fix may break, what a person looks at."""

    title: str
    why: str = ""
    manual: str = ""


class HostPlan(Model, frozen=True):
    """The plan of one host.

    `findings` are those that fail and will be fixed by `changes`; with `held`, `others` (waived, manual,
    unknown, not applicable) and the passes, `counts` add up. `preimages` are digests of what the
    changes were made for, by kind and resource, and `postimages` of the documents they lead to. `manager`
    says that the host is a swarm manager. `proposals` say, for containers of which nobody knows who creates them,
    how they could be run hardened.
    """

    host: HostId
    collected_at: str
    state: str
    preimages: dict[str, dict[str, str]]
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    changes: tuple[Change, ...]
    held: tuple[Held, ...]
    others: tuple[Finding, ...]
    patches: dict[str, dict[str, list[dict[str, Any]]]]
    steps: Steps
    notes: tuple[str, ...] = ()
    postimages: dict[str, dict[str, str]] = {}
    manager: bool = False
    proposals: dict[str, str] = {}


class Plan(Model, frozen=True):
    """A saved plan: bound to hosts, states and baseline, expiring (RFC 3339, UTC), for one use.

    `source` is the baseline as written, so that apply needs nothing else; `baseline_digest` also binds the
    controls, whose texts stand in `controls`. `inventory` is where its hosts stand ("" for this host or a
    file tree), `unreached` says which of them could not be looked at, and why. The digest is that of
    everything else, with hosts by their digests.
    """

    created_at: str
    expires_at: str
    baseline: str
    baseline_digest: str
    policy: Policy
    hosts: tuple[HostPlan, ...]
    source: BaselineFile = BaselineFile("")
    controls: dict[str, Texts] = {}
    inventory: str = ""
    unreached: dict[str, str] = {}
    tool: str = ""
    digest: str = ""
    format_version: int = FORMAT_VERSION
