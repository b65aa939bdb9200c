"""A scenario as data: a small host, one change, and how to see whether what runs there still works.

In options, commands and probes {ip:NAME} stands for a container's address on docker0, {name:NAME} for its name
on the host.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from tests.lab.recipe import GENERATIONS

FILE = Path(__file__).with_name("scenarios.yaml")


class Container(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container as `docker run` starts it: options, and a script for its sh; the idle command without one.

    The image "" is busybox:local by its id.
    """

    name: str
    options: list[str] = []
    script: str = ""
    image: str = "busybox:local"


class Recreate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A container made anew by its owner: options taken away and added; `before` is run on the host first."""

    container: str
    drop: list[str] = []
    add: list[str] = []
    before: str = ""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One prediction and its proof.

    `control` is planned alone, with `tailoring` and `parameters` of the baseline. `of` is the container that the
    prediction is about, or "" for the host's one finding, or the path of a file. The change is made by `recreate`,
    or, where it is empty, by what the plan does: `docker update` of a shared host, `remediator apply` of a host
    of its own. `then` is run on the host after it. `logs` names the container that has to go on to say "ok", or
    `probe` is a command of the host that has to succeed.
    """

    id: str
    about: str
    control: str
    containers: list[Container] = []
    of: str = ""
    logs: str = ""
    probe: str = ""
    recreate: list[Recreate] = []
    then: str = ""
    prepare: str = ""
    undo: str = ""
    config: dict[str, Any] = {}
    tailoring: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    alone: bool = False
    quick: bool = False
    generation: str = ""


@cache
def load() -> tuple[Scenario, ...]:
    """All scenarios, in the order of the file."""
    import yaml

    found = msgspec.convert(yaml.safe_load(FILE.read_text(encoding="utf-8")), list[Scenario])
    names = [one.id for one in found]
    assert len(names) == len(set(names)), "two scenarios have the same id"
    return tuple(found)


def spread(scenarios: tuple[Scenario, ...], generations: tuple[str, ...]) -> dict[str, list[Scenario]]:
    """The scenarios of each engine generation: the one that they name, `all` for each, else in turn."""
    found: dict[str, list[Scenario]] = {one: [] for one in generations}
    for kind in (True, False):
        turn = 0
        for one in [each for each in scenarios if each.alone is kind]:
            if one.generation == "all":
                wanted = generations
            elif one.generation in generations:
                wanted = (one.generation,)
            elif one.generation:
                assert one.generation in GENERATIONS, one.generation
                continue
            else:
                wanted = (generations[turn % len(generations)],)
                turn += 1
            for each in wanted:
                found[each].append(one)
    return found
