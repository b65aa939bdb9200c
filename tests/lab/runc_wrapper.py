#!/usr/bin/python3 -IS
# ruff: noqa: PTH110, PTH118, PTH123, S606
"""Run the real runc with only what this machine may give: for machines without CAP_SYS_RESOURCE.

There `--privileged`, large ulimits and negative OOM scores make runc fail.  This stands first in the
PATH of a host, takes out of the container's description what cannot be granted, and becomes runc.
It runs for every container: no imports that cost time.
"""

import json
import os
import resource
import sys
from typing import Any

REAL = next(path for path in ("/usr/sbin/runc", "/usr/bin/runc") if os.path.exists(path))
MISSING = "CAP_SYS_RESOURCE"


def value_of(arguments: list[str], *names: str) -> str | None:
    """The value of an option, written `--option value` or `--option=value`."""
    for index, argument in enumerate(arguments):
        if argument in names:
            return arguments[index + 1]
        name, equals, value = argument.partition("=")
        if equals and name in names:
            return value
    return None


def fit(process: dict[str, Any]) -> None:
    """Lower what the container asks for to what there is."""
    for names in (process.get("capabilities") or {}).values():
        if MISSING in names:
            names.remove(MISSING)
    for limit in process.get("rlimits") or []:
        most = resource.getrlimit(getattr(resource, limit["type"]))[1]
        if most != resource.RLIM_INFINITY:
            limit["hard"], limit["soft"] = min(limit["hard"], most), min(limit["soft"], most)
    if process.get("oomScoreAdj") is not None:
        with open("/proc/self/oom_score_adj") as own:
            process["oomScoreAdj"] = max(process["oomScoreAdj"], int(own.read()))


def main(arguments: list[str]) -> None:
    """Rewrite the description that runc is about to read, then become runc."""
    path, key = None, "process"
    if "exec" in arguments:
        path, key = value_of(arguments, "--process", "-p"), ""
    elif "create" in arguments or "run" in arguments:
        path = os.path.join(value_of(arguments, "--bundle", "-b") or ".", "config.json")
    if path:
        with open(path) as file:
            document = json.load(file)
        fit(document[key] if key else document)
        with open(path, "w") as file:
            json.dump(document, file)
    os.execv(REAL, [REAL, *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
