"""The shape of the program: imports point down, heavy libraries have one door each, modules stay small."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

import remediator

PACKAGE: Final = Path(remediator.__file__).parent
MODULES: Final = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
# The rooms, in the order in which data flows back: each may import those after it, and itself.
ROOMS: Final = (
    "__main__", "cli", "report", "drift", "apply", "plan", "impact", "compose_audit", "audit", "kinds", "compose",
    "collect", "runner", "baseline", "patch", "edited", "expect", "log", "model", "errors", "__init__",
)  # fmt: skip
DOORS: Final = {
    "docker": "collect/local.py",
    "ansible_runner": "runner.py",
    "filelock": "apply/",
    "jsonpatch": "patch.py",
    "structlog": "log.py|cli/drift.py",
}
LONG: Final = {"collect/probe.py": 600}  # the rest: 300 lines
HEAVY: Final = ("docker", "ansible_runner", "ansible", "msgspec", "yaml", "jsonpatch", "structlog", "rich", "requests")


@cache
def parsed(name: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"))


def room(name: str) -> str:
    """The room of a module: the folder it stands in, or itself."""
    return name.partition("/")[0].removesuffix(".py")


def at_runtime(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below one, but for what is there for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from at_runtime(child)


def imports(name: str) -> Iterator[str]:
    """The full dotted names that a module imports at run time."""
    folder = ["remediator", *name.split("/")[:-1]]
    for node in at_runtime(parsed(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    """A module imports only rooms below its own, its own, and libraries."""
    allowed = set(ROOMS[ROOMS.index(room(name)) :])
    used = {one.split(".")[1] for one in imports(name) if one.startswith("remediator.")}
    used = {"__init__" if one in ("__version__",) else one for one in used}
    assert set() == used - allowed


@pytest.mark.parametrize("library", sorted(DOORS))
def test_libraries_with_effects_have_one_door(library: str) -> None:
    """Each is imported in one place, which is where to look."""
    users = [name for name in MODULES if any(one.partition(".")[0] == library for one in imports(name))]
    assert users
    assert [one for one in users if not one.startswith(tuple(DOORS[library].split("|")))] == []


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_small(name: str) -> None:
    """What does not fit on a few screens is two modules."""
    lines = (PACKAGE / name).read_text(encoding="utf-8").count("\n")
    assert lines <= LONG.get(name, 300)


@pytest.mark.parametrize("name", MODULES)
def test_no_module_uses_a_shell_or_reads_objects(name: str) -> None:
    """Programs are started by argument lists, and YAML and JSON are data."""
    for node in ast.walk(parsed(name)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {one.arg: ast.unparse(one.value) for one in node.keywords}
        assert "shell" not in given, called
        assert called not in {
            "os.system",
            "os.popen",
            "eval",
            "exec",
            "pickle.load",
            "pickle.loads",
            "yaml.unsafe_load",
        }
        if called in ("yaml.load", "yaml.load_all"):
            assert given.get("Loader") == "loader"
            source = (PACKAGE / name).read_text(encoding="utf-8")
            assert 'getattr(yaml, "CSafeLoader", yaml.SafeLoader)' in source


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_for(name: str) -> None:
    """A reader of the folder needs to open only the module that is looked for."""
    assert ast.get_docstring(parsed(name))


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["plan", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    """Help is there at once: libraries are imported by the commands that use them."""
    code = (
        "import json, sys\n"
        "from remediator.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({one.partition('.')[0] for one in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert set() == loaded & set(HEAVY)
    assert "remediator" in loaded


def test_importing_the_program_starts_nothing() -> None:
    """Modules have no effects when they are imported: no output, no files, no threads."""
    names = ["remediator." + one.removesuffix(".py").replace("/", ".") for one in MODULES if "__" not in one]
    code = (
        "import importlib, sys, threading\n"
        "for one in sys.argv[1:]:\n    importlib.import_module(one)\n"
        "assert threading.active_count() == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
