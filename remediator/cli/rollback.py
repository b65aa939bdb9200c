"""Take a run back: files byte for byte, modes, live limits, the daemon. What others changed since is left."""

from __future__ import annotations

import argparse

from . import common

HELP = "take a run back"
EXAMPLE = "remediator rollback 20260101T030000Z-1a2b3c4d"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", help="a run's id, or the beginning of it (`remediator history`)")
    parser.add_argument("--root", metavar="DIR", default="/", help="a host's file tree")
    parser.add_argument("-i", "--inventory", metavar="INVENTORY", default="", help="another inventory than the run's")
    common.format_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..apply.rollback import rollback
    from ..report import text

    try:
        receipt = rollback(arguments.run_id, arguments.root, arguments.inventory, common.progress())
    finally:
        common.clear_progress()
    if arguments.format == "json":
        common.print_json(receipt)
    else:
        text.receipt(receipt, text.Writer())
    return 2 if receipt.ok else 1
