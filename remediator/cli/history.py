"""List the runs that changed this host, or show one."""

from __future__ import annotations

import argparse

from . import common

HELP = "list the runs, or show one"
EXAMPLE = "remediator history"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_id", metavar="RUN", nargs="?", help="a run's id, or the beginning of it")
    parser.add_argument("--root", metavar="DIR", default="/", help="a host's file tree")
    common.format_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..apply import receipts
    from ..report import text

    where = receipts.folder(arguments.root)
    out = text.Writer()
    if arguments.run_id:
        receipt = receipts.find(where, arguments.run_id)
        if arguments.format == "json":
            common.print_json(receipt)
        else:
            text.receipt(receipt, out)
        return 0
    found = receipts.history(where)
    if arguments.format == "json":
        common.print_json(found)
    else:
        text.history(found, out)
    return 0
