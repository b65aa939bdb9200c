"""Compose files named on the command line: read from disk, judged, and what would be changed as a diff."""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from . import common

if TYPE_CHECKING:
    from ..compose.project import Project
    from ..model import Finding


def argument(which: argparse._MutuallyExclusiveGroup) -> None:
    """--compose, in the place of a host."""
    which.add_argument(
        "--compose",
        metavar="FILE",
        nargs="+",
        help="the files of a compose project, in the order in which they override one another; no host is looked at",
    )


def _text(path: str, named: bool) -> str | None:
    """The text of a regular file, or None where there is none. Raises InputError for what is not read."""
    from ..compose.nodes import MOST_CHARACTERS

    most = 4 * MOST_CHARACTERS  # bytes
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: is no regular file")
            data = file.read(most + 1)
        if len(data) > most:
            raise InputError(f"{path}: larger than {MOST_CHARACTERS // 2**20} MiB")
        return data.decode()
    except (FileNotFoundError, NotADirectoryError) as error:
        if named:
            raise InputError(f"{path}: there is no such file") from error
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path}: is a symbolic link", "name the file that it points to") from error
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def read(files: list[str]) -> Project:
    """The project of compose files, with the files that they extend and include, and .env."""
    from .. import compose

    texts = {path: _text(path, named=True) or "" for path in files}
    tried = set(texts)
    directory = str(Path(files[0]).parent)
    while True:
        project = compose.load(texts, files, directory, os.environ)
        new = [path for path in project.missing if path not in tried]
        if not new:
            return project
        tried.update(new)
        texts.update({path: text for path in new if (text := _text(path, named=False)) is not None})


def _findings(arguments: argparse.Namespace) -> tuple[Project, list[Finding]]:
    from .. import compose_audit
    from ..baseline import load_baseline
    from ..report.text import clean

    project = read(arguments.compose)
    for note in project.notes:
        print(clean(note), file=sys.stderr)
    baseline = load_baseline(arguments.baseline)
    return project, compose_audit.findings(project, baseline, common.now().date().isoformat())


def audit(arguments: argparse.Namespace) -> int:
    """Tell the findings of a project; the exit code is that of an audit."""
    from .. import audit as auditing
    from ..model import Outcome
    from ..report import text

    project, found = _findings(arguments)
    counts = auditing.tally(found)
    if arguments.format == "json":
        common.print_json(
            {
                "format_version": 1,
                "compose": list(project.config_files),
                "baseline": arguments.baseline,
                "counts": counts,
                "notes": list(project.notes),
                "findings": found,
            }
        )
    else:
        text.audit(found, counts, text.Writer(), arguments.all)
    return 2 if counts[Outcome.FAIL] else 0


def plan(arguments: argparse.Namespace) -> int:
    """Print the diff of what would be changed, and on standard error what is held. No file is written."""
    import difflib

    from .. import compose_audit
    from ..model import Safety
    from ..report.text import clean

    if arguments.output or arguments.emit or arguments.format == "json":
        raise InputError("--compose: prints a diff", "leave out -o, --emit and --format; `patch -p0` takes the diff")
    project, found = _findings(arguments)
    patched, held = compose_audit.fix(project, found, Safety(arguments.fix))
    for resource, change, reason in held:
        print(clean(f"held: {resource} {change.path}: {reason}"), file=sys.stderr)
    changed = [path for path, text in patched.texts.items() if text != project.texts[path]]
    for path in changed:
        old, new = (one.texts[path].splitlines(keepends=True) for one in (project, patched))
        for line in difflib.unified_diff(old, new, path, path):
            end = "" if line.endswith("\n") else "\n\\ No newline at end of file\n"
            print(clean(line.rstrip("\r\n")) + line[len(line.rstrip("\r\n")) :], end=end)
    return 2 if changed else 0
