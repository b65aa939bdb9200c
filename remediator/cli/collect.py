"""Read what a host is and print or save it as one JSON document; of an inventory, one line a host.

Nothing is changed.
"""

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

    states, unreached = common.states(arguments)
    if arguments.inventory:
        data = b"".join(msgspec.json.encode(one) + b"\n" for one in states)
    else:
        data = msgspec.json.format(msgspec.json.encode(states[0]), indent=1) + b"\n"
    common.write(arguments.output, data)
    common.tell_unreached(unreached)
    return 1 if unreached else 0
