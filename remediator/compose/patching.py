"""Changes of a container written into the compose files of its service, and proved by reading them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..edited import EditedText
from ..errors import InputError
from ..expect import same
from ..model import Change
from ..patch import get, put
from . import edit, nodes, settings
from .document import located, read
from .edit import Replacement, UneditableError
from .flat import flat
from .hits import KEYS, Keys, hits
from .places import Edits, Places
from .project import Project, reload

_MAY_BE_UNKNOWN: Final = frozenset({"/Config/Healthcheck", "/Config/User"})  # a file's own wins over the image's

_NETWORK: Final = "/HostConfig/NetworkMode"


@dataclass(frozen=True)
class Patched:
    """The project as patched, the edited texts by path, and the changes that were refused with their reasons."""

    project: Project
    texts: Mapping[str, EditedText]
    refused: tuple[tuple[Change, str], ...] = ()


def patch(project: Project, service: str, changes: Sequence[Change]) -> Patched:
    """Write changes of a container's document into the compose files that its service is defined in.

    Only the lines concerned are touched. Each change is proved: the new texts are read again, the service's
    document has to differ in just the wanted value, every other service and all else has to be the same. A
    change that fails the proof, whose value is not known, or that has no place is refused with the reason; one
    that the files already make is no edit. For lists the change is what it takes and adds, not the whole.
    """
    before = project.texts
    texts: dict[str, EditedText] = {}
    refused: list[tuple[Change, str]] = []
    live = [one for one in changes if not one.activation]
    # All at once where that can be proved, else one by one: it takes time to read large files again.
    batches = [live] if len({one.path for one in live}) == len(live) else [[one] for one in live]
    while batches:
        some = batches.pop(0)
        try:
            project, edits = _made(project, service, some)
        except UneditableError as error:
            if len(some) > 1:
                batches = [[one] for one in some]
            else:
                refused.append((some[0], str(error)))
            continue
        for path, replacements in edits.items():
            edited = texts.setdefault(path, EditedText(before[path]))
            for one in edit.backwards(replacements):
                edited.replace(*one)
    changed = {path: one for path, one in texts.items() if one.text != before[path]}
    return Patched(project, changed, tuple(refused))


def _made(project: Project, service: str, changes: Sequence[Change]) -> tuple[Project, dict[str, list[Replacement]]]:
    """The project with changes made, and the edits. Raises UneditableError with the reason.

    One change is tried in all ways that there are, several together in the likeliest only.
    """
    wanted = _wanted(project, service, changes)
    if not wanted:
        return project, {}
    places = Places(project, project.services[service])
    ways = [settings.attempts(places, pointer, value) for pointer, value in wanted.items()]
    reasons: list[str] = []  # the first is of the place where the value stands now
    for way in ways[0] if len(ways) == 1 else [lambda: [one for each in ways for one in each[0]()]]:
        try:
            edits = _by_file(way())
            after = reload(project, {path: edit.apply(project.texts[path], some) for path, some in edits.items()})
            _prove(project, after, service, wanted)
            return after, edits
        except (UneditableError, InputError) as error:
            reasons.append(str(error))
    raise UneditableError(reasons[0] if reasons else "has no place in these files")


def _wanted(project: Project, service: str, changes: Sequence[Change]) -> dict[str, Any]:
    """The values that the document should have, without those that it has. Raises UneditableError for unknown ones."""
    document, unknown = read(project, service)
    found = {}
    for change in changes:
        pointer = change.path
        if pointer not in KEYS:
            raise UneditableError(f"{pointer} has no place in a compose file")
        if pointer in unknown and pointer not in _MAY_BE_UNKNOWN:
            raise UneditableError(unknown[pointer])
        current = _value(project, service, pointer, document)
        value = settings.wanted(pointer, current, change.before_value, change.after_value)
        if pointer == _NETWORK and value == f"{project.name}_default":
            value = ""
        if not same(settings.canonical(pointer, current), settings.canonical(pointer, value)):
            found[pointer] = value
    return found


def _by_file(edits: Edits) -> dict[str, list[Replacement]]:
    """Edits by file, one that two layers share made once, removals that meet made one."""
    found: dict[str, list[Replacement]] = {}
    for path, one in sorted(dict.fromkeys(edits), key=lambda each: (each[0], each[1][:2])):
        some = found.setdefault(path, [])
        if some and one[0] < some[-1][1]:
            if one[2] or some[-1][2]:
                raise UneditableError(f"{path}: two edits meet")
            some[-1] = (some[-1][0], max(some[-1][1], one[1]), "")
        else:
            some.append(one)
    return found


def _prove(before: Project, after: Project, service: str, wanted: Mapping[str, Any]) -> None:
    """Raise UneditableError where the projects differ in more or other than the wanted values, by pointer."""
    file, line = located(before, service, next(iter(wanted)))
    where = f"{file}:{line}"
    keys = [one for pointer in wanted for one in KEYS[pointer]]
    for name in sorted(before.services.keys() | after.services.keys()):
        old, new = (flat(one.services[name]) if name in one.services else {} for one in (before, after))
        if name == service:
            if not same(_without(old, keys), _without(new, keys)):
                raise UneditableError(f"{where}: other settings of this service would change as well")
        elif not same(old, new):
            raise UneditableError(f"{where}: the service {name} shares this, and would change as well")
    for path, text in after.texts.items():
        if text != before.texts.get(path) and not same(*(_around(one, path) for one in (before, after))):
            raise UneditableError(f"{where}: other parts of {path} would change as well")
    (was, _), (now, unknown) = read(before, service), read(after, service)
    for pointer, value in wanted.items():
        made = settings.canonical(pointer, _value(after, service, pointer, now))
        if pointer in unknown or not same(made, settings.canonical(pointer, value)):
            raise UneditableError(f"{where}: the value would not be the wanted one")
        was, now = put(was, pointer, None), put(now, pointer, None)
    if not same(was, now):
        raise UneditableError(f"{where}: other settings of this service would change as well")


def _value(project: Project, service: str, pointer: str, document: Any) -> Any:
    """The value at a pointer; of the network mode only what the file sets, for the rest is the project's name."""
    if pointer == _NETWORK and not hits(project.services[service], ("network_mode",)):
        return ""
    return get(document, pointer)


def _around(project: Project, path: str) -> Any:
    """What stands in a file besides services, and fragments that they use."""
    return {
        name: nodes.plain(one.value)
        for name, one in nodes.entries(project.files[path].root).items()
        if name != "services" and not name.startswith("x-")
    }


def _without(settings_of: Any, paths: Sequence[Keys]) -> Any:
    """Plain data without what stands at the paths, and without mappings that are empty then."""
    for keys in paths:
        settings_of = _cut(settings_of, keys)
    return settings_of


def _cut(value: Any, keys: Keys) -> Any:
    if not isinstance(value, dict) or keys[0] not in value:
        return value
    inner = _cut(value[keys[0]], keys[1:]) if len(keys) > 1 else None
    rest = {key: one for key, one in value.items() if key != keys[0]}
    return rest if inner is None or inner == {} else {**rest, keys[0]: inner}
