"""Arguments and steps that commands share."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..model import HostState
    from ..plan.model import Policy


def host_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Which host: this one, a file tree, or a collected state. The group that excludes one another is given back."""
    group = parser.add_argument_group("host selection (default: this host)")
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--root",
        metavar="DIR",
        default="/",
        help="a host's file tree; recorded engine data in DIR/../engine.json",
    )
    which.add_argument("--state", metavar="FILE", help="a state that `remediator collect` wrote")
    which.add_argument("-i", "--inventory", metavar="INVENTORY", default="", help="hosts of an Ansible inventory")
    group.add_argument("--limit", metavar="PATTERN", default="", help="only these hosts of the inventory")
    group.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=int,
        default=10,
        help="how long the engine may take to answer (default: 10)",
    )
    return which


def baseline_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--baseline",
        metavar="B",
        default="cis-docker",
        help="a bundled baseline's name or a file's path (default: cis-docker)",
    )


def format_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="for people or for machines (default: text)",
    )


def policy_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be changed."""
    parser.add_argument(
        "--fix",
        choices=("safe", "unsafe"),
        default="safe",
        help="unsafe: also what may break something (default: safe)",
    )
    parser.add_argument(
        "--max-disruption",
        choices=("none", "reload", "restart", "recreate"),
        default="reload",
        help="the most that may be done to the daemon and containers (default: reload)",
    )
    parser.add_argument(
        "--defer",
        action="store_true",
        help="write settings of the daemon that need more disruption, and leave them pending until it is next started",
    )


def policy(arguments: argparse.Namespace) -> Policy:
    from ..model import Disruption, Safety
    from ..plan.model import Policy

    return Policy(Safety(arguments.fix), Disruption(arguments.max_disruption), arguments.defer)


def now() -> datetime:
    """The time that a plan is made; that of SOURCE_DATE_EPOCH (seconds) where it is set, for the same bytes."""
    from datetime import UTC, datetime

    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return datetime.fromtimestamp(int(given), UTC) if given else datetime.now(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"SOURCE_DATE_EPOCH={given}: not a number of seconds") from error


def states(arguments: argparse.Namespace) -> tuple[list[HostState], dict[str, str]]:
    """The states of the chosen hosts, and why some of them gave none."""
    from .. import kinds

    if arguments.inventory:
        from ..collect import fleet

        request = kinds.request()
        found, failed = fleet.collect(request, arguments.inventory, arguments.limit, arguments.timeout, progress())
        clear_progress()
        return [kinds.state(found[name], name) for name in sorted(found)], failed
    if arguments.limit:
        raise InputError("--limit: is for hosts of an inventory", "give one with -i")
    if arguments.state:
        return [saved_state(arguments.state)], {}
    from ..collect import local

    return [kinds.state(local.collect(kinds.request(), arguments.root, arguments.timeout))], {}


def inventory(arguments: argparse.Namespace) -> str:
    """The inventory as a plan keeps it: an absolute path, or a list of hosts."""
    given = str(arguments.inventory)
    return given if not given or "," in given else str(Path(given).absolute())


def tell_unreached(hosts: dict[str, str]) -> None:
    """Say on standard error which hosts gave no state, and why."""
    from ..report.text import clean

    for name, reason in hosts.items():
        print(clean(f"{name}: {reason}"), file=sys.stderr)


def saved_state(path: str) -> HostState:
    """A state that `remediator collect` wrote; "-" is standard input."""
    import msgspec

    from .. import kinds
    from ..model import FORMAT_VERSION, HostState

    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        version = msgspec.json.decode(data).get("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise InputError(f"--state {path}: is of format version {version}, this program knows {FORMAT_VERSION}")
        found = msgspec.json.decode(data, type=HostState)
        if not (kinds.KINDS.keys() <= found.facts.keys() and {"paths", "live"} <= found.about.keys()):
            raise msgspec.DecodeError("parts are missing")
        return found
    except OSError as error:
        raise InputError(f"--state {path}: {(error.strerror or str(error)).lower()}") from error
    except (msgspec.DecodeError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"--state {path}: not a collected state: {error}", "`remediator collect -o FILE` writes one"
        ) from error


def write(path: str, data: bytes) -> None:
    """Write a result to a file, readable by its owner alone, whole or not at all; "-" is standard output."""
    if path == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of `path` (0600) when all is written, and is gone when not."""
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file  # a device or a pipe
            return
        descriptor, name = tempfile.mkstemp(dir=target.absolute().parent, prefix=f".{target.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(name).replace(target)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from error
        raise


def many_states(arguments: argparse.Namespace) -> bool:
    """Whether --state names a file with a state on each of its lines, as `collect -i` writes it."""
    if not arguments.state or arguments.state == "-":
        return False
    try:
        with Path(arguments.state).open("rb") as file:
            first = file.readline()
            return first.rstrip().endswith(b"}") and bool(file.readline().strip())
    except OSError:
        return False


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    import msgspec

    write("-", msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def progress() -> Callable[[str], None] | None:
    """Tells each task on standard error while a playbook runs, where that is a terminal."""
    if not sys.stderr.isatty():
        return None

    def say(task: str) -> None:
        sys.stderr.write(f"\r\x1b[K  {task} ...")
        sys.stderr.flush()

    return say


def clear_progress() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
