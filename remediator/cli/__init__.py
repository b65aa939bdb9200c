"""The command line: arguments and wiring. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import RemediatorError
from . import apply, audit, collect, controls, drift, history, plan, rollback

NOTHING, ERROR, FOUND = 0, 1, 2

_COMMANDS = (collect, audit, plan, apply, rollback, drift, history, controls)
_EPILOG = """\
examples:
  remediator audit                            what is wrong with this host
  remediator plan --fix unsafe -o plan.json   what would be changed, and why; nothing is changed
  remediator apply plan.json --dry-run        what ansible would do, to the byte
  sudo remediator apply plan.json             do it, look again, keep a receipt
  sudo remediator apply plan.json --approve DIGEST
                                              do just what was reviewed, without asking
  sudo remediator rollback RUN                take it back

exit codes: 0 nothing to do, 1 error, 2 findings or changes
"""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="remediator",
        description="Brings Docker hosts to a hardened baseline and keeps them there.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"remediator {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        name = module.__name__.rpartition(".")[2]
        one = commands.add_parser(
            name,
            help=module.HELP,
            description=(module.__doc__ or module.HELP).strip(),
            epilog=f"example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(one)
        one.set_defaults(run=module.run)
    return top


def main(argv: Sequence[str]) -> int:
    """Run one command and return the exit code; errors are told with a hint, without a traceback."""
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as ended:  # argparse says 2 for a wrong command line, which means changes here
        return ERROR if ended.code else NOTHING
    gc.disable()  # documents have no cycles, and looking for them in a large host's takes longer than judging it
    try:
        return int(arguments.run(arguments))
    except RemediatorError as error:
        from ..report.text import clean

        sys.stdout.flush()
        print(f"remediator: {clean(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"  {clean(error.hint)}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("remediator: interrupted", file=sys.stderr)
        return ERROR
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ERROR
    except OSError as error:
        print(f"remediator: {error.filename or 'error'}: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        return ERROR
