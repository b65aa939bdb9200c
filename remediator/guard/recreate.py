"""Containers that their owner creates anew: one service at a time, with a watch over each."""

from __future__ import annotations

import json
import time

from .engine import Engine, call
from .files import Document, GuardError, Report, sha256
from .proof import first_answer
from .store import Run, Store

STEADY = 3.0  # seconds for which a container without a health check has to run on
CREATING = 600.0  # seconds that an owner may take
READING = 60.0  # seconds that it may take to read its files


def to_recreate(store: Store, request: Document, files: list[Document], resumed: Run | None) -> list[Document]:
    """The steps that are still to be done: those of edited files, and others that no run of this plan has done."""
    journal = resumed.journal() if resumed is not None else []
    past = [one["label"] for one in journal if (one["step"], one["state"]) == ("recreate", "did")]
    before = {one["path"] for one in files if one["state"] == "before"}
    done = any(run.request["plan"] == request["plan"] for run in store.confirmed())
    return [
        one
        for one in request["recreates"]
        if before.intersection(one["files"]) or not (one["files"] or done or one["label"] in past)
    ]


def refusal(check: Document) -> str:
    """What an owner's own program says against its files; "" where it takes them."""
    code, _, told = call(check["words"], READING)
    return "%s: its files are refused: %s" % (check["label"], told or code) if code else ""


def recreate(run: Run, engine: Engine, one: Document) -> None:
    """Have an owner create its containers anew, and watch them; raises GuardError where they do not run steadily."""
    run.note("recreate", "will", label=one["label"], spec=_specs(engine, one)[0])
    for words in one["up"]:
        code, _, told = call(words, CREATING)
        if code:
            raise GuardError("%s: %s: %s" % (one["label"], " ".join(words[:3]), told))
    if one["owner"] != "swarm" and one["grace"]:  # which watches its tasks itself, and names them anew
        watch(engine, one)
    run.note("recreate", "did", label=one["label"])


def _specs(engine: Engine, one: Document) -> tuple[str, str]:
    """What tells the specification of a swarm's service from others, and that of its previous one; "" for none."""
    if one["owner"] != "swarm":
        return "", ""
    code, out, told = engine.docker("service", "inspect", "--format", "{{json .}}", one["up"][0][-1])
    if code:
        raise GuardError("%s: %s" % (one["label"], told))
    service = json.loads(out)
    texts = [json.dumps(service.get(key), sort_keys=True).encode() for key in ("Spec", "PreviousSpec")]
    return sha256(texts[0]), sha256(texts[1])


def watch(engine: Engine, one: Document) -> None:
    """Wait until the containers are healthy, or have run on for a while; raises GuardError where they are not."""
    begun = time.monotonic()
    since: float | None = None
    first: dict[str, str] = {}
    while True:
        found = engine.containers(list(one["containers"]))
        missing = [name for name in one["containers"] if name not in found]
        bad = ["%s is not there" % name for name in missing]
        waiting = False
        for name, container in found.items():
            state = container["State"]
            health = (state.get("Health") or {}).get("Status", "")
            if not state["Running"] or state.get("Restarting"):
                bad.append("%s is %s" % (name, state["Status"]))
            elif first.setdefault(name, state["StartedAt"]) != state["StartedAt"]:
                bad.append("%s keeps ending" % name)
                raise GuardError("%s: %s" % (one["label"], "; ".join(bad)))
            elif health == "unhealthy":
                bad.append("%s is unhealthy" % name)
            elif health == "starting":
                waiting = True
        if not bad and not waiting:
            since = since or time.monotonic()
            if time.monotonic() - since >= STEADY:
                return
        else:
            since = None
        slow = max([first_answer(container) + STEADY for container in found.values()], default=0.0)
        if time.monotonic() > begun + (one["grace"] if bad else max(one["grace"], slow)):
            raise GuardError("%s: %s" % (one["label"], "; ".join(bad) or "is not healthy in time"))
        time.sleep(0.3)


def back(run: Run, request: Document, engine: Engine, told: Report) -> None:
    """Have owners create anew, from the old definitions, what a run had them create.

    Not from definitions that are somebody else's by now. A service of a swarm goes back to its previous specification,
    which has to be the one of before the run: it is done once, and not where the run had not got to change it.
    """
    begun = {
        line["label"]: line.get("spec", "")
        for line in reversed(run.journal())
        if line["step"] == "recreate" and line["state"] == "will"
    }
    for one in request["recreates"]:
        if one["label"] not in begun:
            continue
        if any(line.startswith(path + ": ") for line in told["left"] for path in one["files"]):
            told["left"].append("%s: is as it was made last: its files were changed by someone else" % one["label"])
            continue
        if one["owner"] == "swarm":
            now, previous = _specs(engine, one)
            if now == begun[one["label"]]:
                continue
            if previous != begun[one["label"]]:
                told["left"].append("%s: was changed by someone else after the run" % one["label"])
                continue
        run.remember("recreate back", "will", label=one["label"])
        for words in one["undo"]:
            code, _, error = call(words, CREATING)
            if code:
                told["errors"].append("%s: %s: %s" % (one["label"], " ".join(words[:3]), error))
