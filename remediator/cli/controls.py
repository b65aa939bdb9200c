"""List the controls, or tell everything about one."""

from __future__ import annotations

import argparse

from . import common

HELP = "list the controls, or explain one"
EXAMPLE = "remediator controls docker-icc"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="?", help="a control's id")
    common.format_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..baseline import load_controls
    from ..errors import InputError
    from ..report import text

    controls = load_controls()
    if arguments.id and arguments.id not in controls:
        raise InputError(f"there is no control '{arguments.id}'", "`remediator controls` lists them")
    chosen = [controls[arguments.id]] if arguments.id else list(controls.values())
    if arguments.format == "json":
        common.print_json(chosen)
        return 0
    out = text.Writer()
    if not arguments.id:
        for one in chosen:
            number = one.benchmarks.get("cis-docker-1.8.0", "-")
            out.line(f"{one.id:36} {number:7} {one.safety.value:7} {one.disruption.value:9} {one.title}")
        return 0
    one = chosen[0]
    out.line(one.title, "bold")
    numbers = ", ".join(f"{name} {number}" for name, number in one.benchmarks.items())
    out.line(
        f"{one.id}: severity {one.severity.value}, {one.stride}, {one.safety.value}, disruption {one.disruption.value}"
    )
    out.line(f"benchmarks: {numbers}")
    for name, told in (
        ("why it matters", one.rationale),
        ("what a fix may break", one.why),
        ("for a person", one.manual),
        ("tailoring", one.tailored),
    ):
        if told:
            out.line(f"{name}: {told}")
    if one.expect is not None:
        out.line(f"expects: {one.resource or one.kind} {one.path} {text.value(one.expect)}")
    return 0
