"""Say what would be changed on a host, why, and what is held. Nothing is changed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import common, compose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..plan.stream import Summary

HELP = "say what would be changed, and save it"
EXAMPLE = "remediator plan --fix unsafe --max-disruption restart -o plan.json --emit project/"


def add(parser: argparse.ArgumentParser) -> None:
    compose.argument(common.host_arguments(parser))
    common.baseline_argument(parser)
    common.policy_arguments(parser)
    common.format_argument(parser)
    parser.add_argument("-o", "--output", metavar="FILE", help="save the plan, for `remediator apply`")
    parser.add_argument(
        "--sign",
        metavar="KEY",
        type=Path,
        help="sign the plan with an ssh key, into FILE.sig: a private key, or a public one that an agent has",
    )
    parser.add_argument(
        "--emit",
        metavar="DIR",
        type=Path,
        help="write plan.json, patches/*.json and a playbook into a new directory",
    )


def _recorded(arguments: argparse.Namespace) -> int:
    """The plan of many recorded states, one a line: written as it comes, and a summary of it told."""
    from ..baseline import load_baseline
    from ..errors import InputError
    from ..plan import stream
    from ..plan.plan import make
    from ..report import plans, text

    if not arguments.output or arguments.emit or arguments.sign or arguments.format == "json":
        hint = "give -o FILE, without --emit, --sign and --format json"
        raise InputError("--state with many hosts: their plan goes to a file", hint)
    baseline, policy = load_baseline(arguments.baseline), common.policy(arguments)
    head = make([], baseline, policy, common.now())
    out, sealed = text.Writer(), ""

    def summaries() -> Iterator[Summary]:
        nonlocal sealed
        sealed = yield from stream.write(file, head, stream.plans(lines, baseline, policy))

    with Path(arguments.state).open("rb") as lines, common.replacing(arguments.output) as file:
        total = plans.fleet_summary(summaries(), out)
    out.line(f"Plan {sealed}, valid until {head.expires_at}", "dim")
    return 2 if total else 0


def run(arguments: argparse.Namespace) -> int:
    if arguments.compose:
        return compose.plan(arguments)
    if common.many_states(arguments):
        return _recorded(arguments)
    from ..baseline import load_baseline
    from ..errors import InputError
    from ..plan import saved
    from ..plan.plan import make
    from ..report import plans, text

    if arguments.sign and (not arguments.output or arguments.output == "-"):
        raise InputError("--sign: the signature is written beside the plan", "give -o FILE")
    baseline = load_baseline(arguments.baseline)
    states, unreached = common.states(arguments)
    policy, inventory = common.policy(arguments), common.inventory(arguments)
    plan = make(states, baseline, policy, common.now(), inventory=inventory, unreached=unreached)
    if arguments.output:
        data, signed = saved.encode(plan), b""
        if arguments.sign:
            from ..plan import signature

            signed = signature.sign(data, arguments.sign)
        common.write(arguments.output, data)
        if signed:
            common.write(f"{arguments.output}.sig", signed)
    if arguments.emit:
        from ..plan import playbook

        playbook.emit(plan, arguments.emit)
    if arguments.format == "json" and arguments.output != "-":
        common.print_json(plan)
    elif arguments.output != "-":
        plans.plan(plan, text.Writer())
    if unreached:
        return 1
    return 2 if any(host.changes for host in plan.hosts) else 0
