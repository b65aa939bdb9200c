"""Read what a host is and print or save it as one JSON document. Nothing is changed."""

from __future__ import annotations

import argparse

from . import common

HELP = "read what a host is, as JSON"
EXAMPLE = "remediator collect -o state.json"


def add(parser: argparse.ArgumentParser) -> None:
    common.host_arguments(parser)
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="where to (default: standard output)")


def run(arguments: argparse.Namespace) -> int:
    import msgspec

    state = common.state(arguments)
    common.write(arguments.output, msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")
    return 0
