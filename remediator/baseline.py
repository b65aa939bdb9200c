"""Controls, and baselines: a selection of controls with parameters, tailoring and waivers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from . import expect
from .errors import InputError
from .model import Disruption, Json, Model, Safety, Severity, Stride

KINDS_OF_CONTROLS: Final = (
    "daemon", "env", "container", "file", "audit_rule", "engine", "host", "group", "image", "audit_log", "swarm",
)  # fmt: skip
CONDITIONS: Final = frozenset({"engine_before", "engine_from", "swarm", "apparmor", "selinux", "tcp", "storage_driver"})
DEFAULT_BASELINE: Final = "cis-docker"

_T = TypeVar("_T")


class Control(Model, frozen=True, dict=True, gc=True):
    """One requirement: what is right, as a projection, and what is known about making it so.

    Without `expect` only a person can judge it, and `manual` says what to look at.
    """

    id: str
    title: str
    kind: str
    severity: Severity
    stride: Stride
    benchmarks: dict[str, str]
    rationale: str
    resource: str = ""
    path: str = ""
    expect: dict[str, Any] | None = None
    default: Json | msgspec.UnsetType = msgspec.UNSET
    when: dict[str, Any] = {}
    safety: Safety = Safety.MANUAL
    disruption: Disruption = Disruption.NONE
    why: str = ""
    manual: str = ""
    tailored: str = ""

    @cached_property
    def derives(self) -> bool:
        """Whether its desired value is derived for each container: an operator has `to: {derive: NAME}`."""
        given = [one.get("to") for one in (self.expect or {}).values() if isinstance(one, dict)]
        return any(isinstance(to, dict) and "derive" in to for to in given)


class Memory(Model, frozen=True):
    """How a memory limit is derived from use; sizes in bytes, headroom and share as factors.

    `host_share`: the sum of all limits may be this part of the host's memory at most.
    """

    headroom: Annotated[float, msgspec.Meta(ge=1)] = 2.0
    minimum: Annotated[int, msgspec.Meta(ge=0)] = 64 * 2**20
    round_to: Annotated[int, msgspec.Meta(ge=1)] = 32 * 2**20
    host_share: Annotated[float, msgspec.Meta(gt=0)] = 0.9


class Pids(Model, frozen=True):
    """How a PIDs limit is derived from the number of tasks in use."""

    headroom: Annotated[float, msgspec.Meta(ge=1)] = 4.0
    minimum: Annotated[int, msgspec.Meta(ge=1)] = 128
    round_to: Annotated[int, msgspec.Meta(ge=1)] = 64


class Impact(Model, frozen=True):
    """For how many seconds a container must have run before what was not seen counts as ruled out."""

    observed: Annotated[int, msgspec.Meta(ge=1)] = 24 * 3600


class Parameters(Model, frozen=True):
    memory: Memory = Memory()
    pids: Pids = Pids()
    cpu_shares: Annotated[int, msgspec.Meta(ge=2)] = 512
    impact: Impact = Impact()


class Tailoring(Model, frozen=True):
    """What a baseline changes in one control."""

    expect: dict[str, Any] | None = None
    safety: Safety | None = None
    severity: Severity | None = None


class Waiver(Model, frozen=True):
    """An accepted finding: which control, on which resources (fnmatch pattern), why, by whom, until when."""

    control: str
    reason: str
    approver: str
    expires: str
    resource: str = "*"


class BaselineFile(Model, frozen=True):
    """A baseline as written in YAML."""

    name: str
    benchmark: str = ""
    include: list[str] = []
    exclude: list[str] = []
    parameters: Parameters = Parameters()
    tailoring: dict[str, Tailoring] = {}
    waivers: list[Waiver] = []


class Baseline(Model, frozen=True):
    """A baseline ready to be held against a host: its controls with the tailoring applied, and its source."""

    name: str
    controls: tuple[Control, ...]
    parameters: Parameters = Parameters()
    waivers: tuple[Waiver, ...] = ()
    source: BaselineFile = BaselineFile("")


def _yaml(text: bytes, where: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader, in C where there is one
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{where}: not valid YAML: {error}") from error


def _convert(document: Any, kind: type[_T], where: str) -> _T:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}") from error


def _check(control: Control, where: str) -> None:
    if control.kind not in KINDS_OF_CONTROLS:
        raise InputError(f"{where}: unknown kind '{control.kind}'", f"kinds: {', '.join(KINDS_OF_CONTROLS)}")
    if control.expect is None and not control.manual:
        raise InputError(f"{where}: needs 'expect', or 'manual' that says what to look at")
    if unknown := control.when.keys() - CONDITIONS:
        raise InputError(f"{where}: unknown condition in 'when': {', '.join(sorted(unknown))}")
    if control.expect is not None:
        expect.check(control.expect, where)


@cache
def load_controls() -> Mapping[str, Control]:
    """All bundled controls by id, in the order of their benchmark sections.

    Raises InputError that names file and entry where the data is not right.
    """
    controls: dict[str, Control] = {}
    folder = files(__package__) / "controls"
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if not entry.name.endswith(".yaml"):
            continue
        for index, document in enumerate(_yaml(entry.read_bytes(), entry.name) or []):
            name = document.get("id", f"entry {index + 1}") if isinstance(document, dict) else f"entry {index + 1}"
            where = f"controls/{entry.name}: {name}"
            control = _convert(document, Control, where)
            _check(control, where)
            if control.id in controls:
                raise InputError(f"{where}: this id is used twice")
            controls[control.id] = control
    return controls


def _bundled(name: str) -> bytes | None:
    entry = files(__package__) / "baselines" / f"{name}.yaml"
    return entry.read_bytes() if entry.is_file() else None


def bundled_baselines() -> list[str]:
    """The names of the baselines that come with the program."""
    folder = files(__package__) / "baselines"
    return sorted(entry.name[: -len(".yaml")] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_baseline(name: str = DEFAULT_BASELINE) -> Baseline:
    """The baseline of that name, or in the file of that path.

    Raises InputError that says which file, which key and what is wrong.
    """
    text = _bundled(name) if "/" not in name else None
    if text is None:
        try:
            text = Path(name).read_bytes()
        except OSError as error:
            raise InputError(
                f"baseline {name}: {error.strerror}",
                f"a path, or one of the bundled: {', '.join(bundled_baselines())}",
            ) from error
    source = _convert(_yaml(text, f"baseline {name}"), BaselineFile, f"baseline {name}")
    return build(source, load_controls(), f"baseline {name}")


def build(source: BaselineFile, known: Mapping[str, Control], where: str = "baseline") -> Baseline:
    """A baseline made of its written form and the known controls."""
    named = [*source.include, *source.exclude, *source.tailoring, *(one.control for one in source.waivers)]
    for one in named:
        if one not in known:
            raise InputError(f"{where}: there is no control '{one}'", "`remediator controls` lists them")
    for waiver in source.waivers:
        try:
            date.fromisoformat(waiver.expires)
        except ValueError as error:
            raise InputError(f"{where}: waiver of {waiver.control}: 'expires' wants YYYY-MM-DD") from error
    chosen: Iterable[Control] = known.values() if not source.include else (known[one] for one in source.include)
    controls = []
    for control in chosen:
        if control.id in source.exclude or (source.benchmark and source.benchmark not in control.benchmarks):
            continue
        controls.append(_tailored(control, source.tailoring.get(control.id), where))
    return Baseline(source.name, tuple(controls), source.parameters, tuple(source.waivers), source)


def _tailored(control: Control, tailoring: Tailoring | None, where: str) -> Control:
    if tailoring is None:
        return control
    if tailoring.expect is not None:
        expect.check(tailoring.expect, f"{where}: tailoring of {control.id}")
    given = {
        name: value for name in ("expect", "safety", "severity") if (value := getattr(tailoring, name)) is not None
    }
    if control.safety is Safety.MANUAL and tailoring.expect is not None and tailoring.safety is None:
        given["safety"] = Safety.UNSAFE
    return msgspec.structs.replace(control, **given)
