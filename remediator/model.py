"""The values that flow from collect to drift: frozen, without I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

FORMAT_VERSION: Final = 1

Json = Any  # a JSON document: None, bool, int, float, str, list, dict


class Absent:
    """The value of a key that is not set; there is one instance, ABSENT, which is false."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = Absent()

Value = Any  # Json or ABSENT


class Outcome(StrEnum):
    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    WAIVED = "waived"
    NOT_APPLICABLE = "not-applicable"
    UNKNOWN = "unknown"
    MANUAL = "manual"


class _Ordered(StrEnum):
    """A string enumeration whose members compare in the order of their definition."""

    def __init__(self, _value: str) -> None:
        self.rank = len(type(self)._member_names_)

    def __lt__(self, other: str) -> bool:
        return self.rank < (other if isinstance(other, _Ordered) else type(self)(other)).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= (other if isinstance(other, _Ordered) else type(self)(other)).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > (other if isinstance(other, _Ordered) else type(self)(other)).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= (other if isinstance(other, _Ordered) else type(self)(other)).rank


class Safety(_Ordered):
    MANUAL = "manual"
    UNSAFE = "unsafe"
    SAFE = "safe"


class Disruption(_Ordered):
    NONE = "none"
    RELOAD = "reload"
    RESTART = "restart"
    RECREATE = "recreate"
    MIGRATE = "migrate"


class Severity(_Ordered):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


Stride = Literal[
    "spoofing",
    "tampering",
    "repudiation",
    "information-disclosure",
    "denial-of-service",
    "elevation-of-privilege",
    "all",
]


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Base of all values that are read from or written to files."""


class HostId(Model, frozen=True):
    """Which host a document speaks of; machine_id is /etc/machine-id, root is "/" but for file trees."""

    name: str
    machine_id: str = ""
    root: str = "/"


class Fact(Model, frozen=True):
    """One resource's document and the evidence around it, or the reason why it is unknown.

    `document` is what controls point into and patches apply to; `evidence` is what judging and
    rendering it needs besides (flags, live values, the masked text), by names of the kind's own.
    """

    document: Json = None
    evidence: dict[str, Any] = {}
    unknown: str = ""


class HostState(Model, frozen=True):
    """What a host is: facts by kind and resource, collected at a time (RFC 3339, UTC)."""

    host: HostId
    collected_at: str
    facts: dict[str, dict[str, Fact]]
    about: dict[str, Any] = {}
    format_version: int = FORMAT_VERSION


class Change(Model, frozen=True):
    """before -> after at one path of one resource; a missing side is said by the has_ flags.

    `activation` marks a change of which the document needs no patch, and which the engine has to take up:
    the document already says the right thing while the engine still does another; or a flag of the daemon's
    command line owns the key, then `flag` says which one and where ("--icc in FILE:LINE"), and it is edited there.
    `deferred` marks a change that is written and left pending, and says until when.
    """

    kind: str
    resource: str
    path: str
    control: str
    safety: Safety
    disruption: Disruption
    before: Json = None
    after: Json = None
    had_before: bool = True
    has_after: bool = True
    activation: bool = False
    flag: str = ""
    evidence: tuple[str, ...] = ()
    blocked: str = ""
    deferred: str = ""

    @property
    def before_value(self) -> Value:
        return self.before if self.had_before else ABSENT

    @property
    def after_value(self) -> Value:
        return self.after if self.has_after else ABSENT


class Owner(Model, frozen=True):
    """Who creates a container: compose, systemd, swarm, kubernetes, or unknown.

    `name` is project/service, a unit, a service or a pod; `where` is file:line or an id, or for an unknown one
    why it is.
    """

    kind: str = "unknown"
    name: str = ""
    where: str = ""

    @property
    def label(self) -> str:
        """The owner in few words: of a compose service its project, of which others are as well."""
        name = self.name.rpartition("/")[0] if self.kind == "compose" else self.name
        return f"{self.kind} {name}" if self.name else "owner unknown"


class Finding(Model, frozen=True):
    """One control on one resource: its outcome, the reason, and the changes that would make it pass.

    `owner` says of a container who creates it.
    """

    control: str
    kind: str
    resource: str
    outcome: Outcome
    title: str = ""
    severity: Severity = Severity.MEDIUM
    reason: str = ""
    pending: bool = False
    changes: tuple[Change, ...] = ()
    owner: Owner | None = None


class FileEdit(Model, frozen=True, tag="edit"):
    """A file's new text, guarded by the SHA-256 of the old one ("" where there is none yet).

    `content` is the whole new text; where secrets were masked it is empty, and `pieces` make the new
    text of slices of the old one on the host itself ([start, end] in characters, or a new string), as
    `inverse` makes the old one of the new one. `mode` is for a file that is not there yet.
    """

    path: str
    before: str
    after: str
    content: str = ""
    pieces: tuple[list[int] | str, ...] = ()
    inverse: tuple[list[int] | str, ...] = ()
    masked: bool = False
    mode: str = "0644"


class Attributes(Model, frozen=True, tag="attributes"):
    """A file's new mode (octal digits) and owner ("user:group"); an empty one is left as it is."""

    path: str
    mode: str = ""
    owner: str = ""
    socket: bool = False


class LiveUpdate(Model, frozen=True, tag="update"):
    """HostConfig values that `docker update` gives running containers, all of them the same."""

    names: tuple[str, ...]
    values: dict[str, Any]


class Check(Model, frozen=True):
    """Edited files of an owner, and the argument list of its own program that tries them: it has to succeed."""

    name: str
    words: tuple[str, ...]
    files: tuple[str, ...]


class Recreate(Model, frozen=True, tag="recreate"):
    """Containers created anew by their owner, one service, unit or swarm service at a time.

    `up` are run in their order. `files` are the edited files that it rests on: when a new container is not healthy
    or ends within `grace` seconds, they are put back and `undo` is run. With `grace` 0 the containers did not run
    before, and are not started.
    """

    owner: str
    name: str
    containers: tuple[str, ...]
    up: tuple[tuple[str, ...], ...]
    undo: tuple[tuple[str, ...], ...] = ()
    files: tuple[str, ...] = ()
    grace: int = 30


Step = FileEdit | Attributes | LiveUpdate
