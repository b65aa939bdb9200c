"""The guard: runs on the host that is changed, keeps a journal of the change, proves it, and takes it back.

A change of a host is a run. `begin` looks whether the host is what the plan was made for, keeps what will be
replaced and how the containers are, arms the dead-man's switch, and opens the run; files are then written by
others, and `activate` makes the engine take them up. `confirm` proves that everything that worked still does, and
closes the run; whatever fails, and a run that nobody confirms in time or over a boot, is taken back by `undo`.
What is done is written to the journal before (will) and after (did), so that any of them can go on from any point.

It travels as one file and runs with the host's own python: standard library only, Python 3.8, in modules that
are put together here. Names are therefore unique over all of them.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib import resources
from typing import Final

# In the order in which they need one another.
MODULES: Final = (
    "files", "store", "engine", "look", "proof", "switch", "recreate", "swarm", "rescue", "limits", "restore", "keep",
    "back", "undo", "allowed", "begin", "activate", "__main__",
)  # fmt: skip


def _alone(text: str) -> str:
    """A module's text without what it imports from the others."""
    lines = text.splitlines(keepends=True)
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and (node.level or node.module == "__future__"):
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "".join(lines).strip("\n") + "\n"


@cache
def source() -> str:
    """The guard as the one file that runs on hosts."""
    folder = resources.files(__package__)
    texts = [_alone((folder / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]
    return f'"""{__doc__}"""\n\nfrom __future__ import annotations\n\n' + "\n\n".join(texts)
