"""The configuration that a plan leads to, held against what the engine takes, before anything is changed.

A change that makes it a configuration with which the daemon does not start, or no container does, is held; where the
fault was there before, everything that would bring it into effect is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..dockerd import start
from ..dockerd.check import Candidate, Fault, Host, check, unknown
from ..dockerd.options import engine
from ..dockerd.start import MASK, Start
from ..kinds import command
from ..model import ABSENT, Change, Disruption, Fact, Finding, HostState, Value
from ..patch import put, tokens
from .model import Held

CANDIDATE: Final = "CANDIDATE"  # the last word of Activation.validate: stands for the path of the text that is tried
_VALIDATES: Final = 23  # the first generation with `dockerd --validate`
_NOTHING: Final = Fact({}, {"flags": {}, "live": {}, "awaits": [], "file": {}, "start": {}})


def daemon(state: HostState) -> tuple[str, Fact]:
    """The one daemon of a host and the path of its daemon.json."""
    return next(iter(state.facts["daemon"].items()), ("", _NOTHING))


def key(change: Change) -> str:
    """The key of daemon.json that a change is about; "" for changes of other kinds."""
    return tokens(change.path)[0] if change.kind == "daemon" else ""


def _wanted(changes: Iterable[Change]) -> dict[str, Value]:
    return {key(one): one.after_value for one in changes if one.flag}


def _begun(fact: Fact, wanted: dict[str, Value]) -> tuple[dict[str, Any], Start]:
    """The files of the next start with flags changed, and that start."""
    begun = fact.evidence["start"]
    if wanted:
        edited = {path: one.text for path, one in command.edited_texts(begun, wanted).items()}
        begun = command.with_texts(begun, edited)
    return begun, start.next_start(begun)


def candidate(state: HostState, changes: Iterable[Change]) -> Candidate:
    """What the daemon would start with after the changes."""
    config, fact = daemon(state)
    made = [one for one in changes if key(one)]
    document, wanted = fact.document, _wanted(made)
    for one in made:
        if not one.activation:
            document = put(document, one.path, one.after_value)
    flags = {name: one for name, one in fact.evidence["flags"].items() if wanted.get(name, one) is not ABSENT}
    flags.update({name: {**flags[name], "value": value} for name, value in wanted.items() if name in flags})
    begun, begin = _begun(fact, wanted)
    live, named, about = fact.evidence["live"], fact.evidence.get("named", {}), state.about
    return Candidate(
        config=config,
        text=fact.evidence["file"].get("text", ""),
        document=document,
        version=about.get("engine", ""),
        begin=Start() if fact.evidence.get("proven") and not wanted else begin,
        texts={path: str(one.get("text", "")) for path, one in begun["files"].items()},
        flags=flags,
        masked=bool(fact.evidence["file"].get("masked")),
        exists=fact.evidence["file"].get("type", "absent") != "absent",
        host=Host(
            swarm=bool(about.get("swarm")),
            cgroups=about.get("cgroup_driver", ""),
            log_driver=live.get("log-driver", ""),
            storage_driver=live.get("storage-driver", ""),
            **{name: named[name] for name in ("paths", "users", "groups") if name in named},
        ),
    )


def faults(state: HostState, changes: Iterable[Change]) -> list[Fault]:
    """What is wrong with the configuration after the changes.

    What lies in the configuration alone, and a daemon that runs with it proves wrong, is no fault: the engine knows
    better than the table.
    """
    made = list(changes)
    _, fact = daemon(state)
    changed = {key(one) for one in made if not one.activation or one.flag}
    found = [*_plugins(state, changed), *check(candidate(state, made))]
    proven = fact.evidence.get("running") and fact.evidence.get("stale", False) is False and not fact.evidence["awaits"]
    return [one for one in found if not (proven and one.own and changed.isdisjoint(one.keys))]


def _plugins(state: HostState, changed: set[str]) -> list[Fault]:
    """Authorization plugins of the file that the running daemon has not taken up, and which nobody has tried.

    Any reload takes them up, some time after it; without the plugin the daemon then refuses every request (seen with
    20.10, moby: pkg/authorization, where a request is denied when the plugin does not answer).
    """
    config, fact = daemon(state)
    key, used = "authorization-plugins", fact.evidence.get("authorization")
    named = (fact.document or {}).get(key)
    if used is None or not isinstance(named, list) or key in changed:
        return []
    told = "is not taken up by the daemon that runs, which refuses every request where there is no such plugin"
    return [
        Fault((key,), f"{config}: {key}: {name} {told}: restart it by hand first", "read")
        for name in named
        if name not in used
    ]


def hold(chosen: Iterable[Finding], state: HostState) -> list[Held]:
    """The findings whose changes would lead to a daemon that does not start, or to one with which no container does."""
    kept = [found for found in chosen if found.kind == "daemon"]
    held: list[Held] = []
    while kept:
        found = faults(state, [one for finding in kept for one in finding.changes])
        out = next((some for some in (_affected(fault, kept) for fault in found) if some), None)
        if out is None:
            break
        held += out
        gone = {id(one.finding) for one in out}
        kept = [one for one in kept if id(one) not in gone]
    return held


def _affected(fault: Fault, kept: list[Finding]) -> list[Held]:
    """Whose changes make a fault; else, as it was there before, whose changes would bring it into effect."""
    guilty = [one for one in kept if any(key(change) in fault.keys for change in one.changes)]
    if not guilty:
        guilty = [
            one
            for one in kept
            if fault.level == "read" or any(change.disruption >= Disruption.RESTART for change in one.changes)
        ]
    return [Held(one, fault.reason) for one in guilty]


def no_reload(state: HostState, changes: Iterable[Change] = ()) -> str:
    """Why the daemon would not take up a reload of the file with the changes; "" where it would.

    moby: daemon/config/config.go, Reload reads the file alone, without the flags and their defaults, and refuses
    what a start takes: `userland-proxy` without the path that a flag has by default (seen with 26.1 and 28.5).
    """
    _, fact = daemon(state)
    made = [one for one in changes if key(one)]
    document = fact.document or {}
    if not {*document, *(key(one) for one in made)}.isdisjoint(fact.evidence["awaits"]):
        return "the running daemon was started with another command line, and reads no file beside it by a reload"
    for one in made:
        if not one.flag:
            document = put(document, one.path, one.after_value)
    generation = engine(state.about.get("engine", "")).generation
    if generation >= 26 and document.get("userland-proxy") is True and not document.get("userland-proxy-path"):
        return "this engine refuses to reload a file with userland-proxy: true and no userland-proxy-path"
    return ""


def validate(state: HostState, changes: Iterable[Change]) -> tuple[tuple[str, ...], str]:
    """The words that try the candidate with the engine's own program, and why there are none.

    They are those of the next start, with `--validate --config-file CANDIDATE` in place of its own file; none where
    the engine has no `--validate` (before 23), and where the command line is not known to the letter.
    """
    _, fact = daemon(state)
    if engine(state.about.get("engine", "")).generation < _VALIDATES:
        return (), ""
    _, begin = _begun(fact, _wanted(changes))
    words = [one.text for one in begin.words] if not begin.unsure else list(fact.evidence["start"].get("argv", ()))
    untold = "the configuration is not tried with `dockerd --validate`: "
    if not words:
        return (), untold + (begin.unsure or "the daemon's command line is not known")
    if any(MASK in one or "%" in one or "$" in one for one in words):
        return (), untold + "its command line has secrets or specifiers, which are known on the host alone"
    kept, skip = [], False
    for word in words[1:]:
        if not skip and word.partition("=")[0] != "--config-file":
            kept.append(word)
        skip = word == "--config-file" and not skip
    program = words[0].lstrip("@-:+!")
    if not program.startswith("/"):
        program = next(iter(state.about["paths"].get("{binary:dockerd}", [])), program)
    return (program, *kept, "--validate", "--config-file", CANDIDATE), ""


def notes(state: HostState, changes: Iterable[Change]) -> list[str]:
    """What a reader should know of the check: an engine or keys that it does not know, flags that nobody reads."""
    made = [one for one in changes if key(one)]
    _, fact = daemon(state)
    told = list(fact.evidence.get("unused", ()))
    if not made:
        return told
    known = engine(state.about.get("engine", ""))
    if known.note and state.about.get("engine"):
        told.append(f"daemon.json: {known.note}")
    if keys := unknown(candidate(state, made)):
        told.append(f"daemon.json: keys that no engine is known to take, and this one may: {', '.join(keys)}")
    return told
