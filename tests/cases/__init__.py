"""Cases as data, which unit tests hold against the product and lab tests against engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ENGINES: Final = {"20.10": "20.10.24", "26.1": "26.1.5", "28.5": "28.5.2"}


@dataclass(frozen=True)
class Configuration:
    """A configuration of dockerd: what each engine makes of it ("start", "run" or "" for good), and what is said."""

    name: str
    config: dict[str, Any] | str
    flags: tuple[str, ...]
    ends: dict[str, str]
    says: str = ""


def configurations() -> list[Configuration]:
    """All of daemon.yaml; names are unique."""
    document = yaml.safe_load(Path(__file__).with_name("daemon.yaml").read_text(encoding="utf-8"))
    found = []
    for one in document["bad"]:
        bad = one["bad"]
        ends = {engine: bad if isinstance(bad, str) else bad.get(engine, "") for engine in ENGINES}
        found.append(Configuration(one["name"], one["config"], tuple(one.get("flags", ())), ends, one["says"]))
    for one in document["good"]:
        ends = dict.fromkeys(one.get("engines", ENGINES), "")
        found.append(Configuration(f"good: {one['name']}", one["config"], tuple(one.get("flags", ())), ends))
    return found
