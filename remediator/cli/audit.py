"""Hold a host against a baseline and say what is wrong. Nothing is changed."""

from __future__ import annotations

import argparse
from typing import Any

from . import common, compose

HELP = "say what is wrong with a host"
EXAMPLE = "remediator audit --format json"


def add(parser: argparse.ArgumentParser) -> None:
    compose.argument(common.host_arguments(parser))
    common.baseline_argument(parser)
    common.format_argument(parser)
    parser.add_argument("--all", action="store_true", help="show every finding, also those that pass")


def run(arguments: argparse.Namespace) -> int:
    if arguments.compose:
        return compose.audit(arguments)
    from .. import audit
    from ..baseline import load_baseline
    from ..model import Outcome
    from ..report import plans, text

    baseline = load_baseline(arguments.baseline)
    states, unreached = common.states(arguments)
    documents: list[dict[str, Any]] = []
    for state in states:
        findings = audit.audit(state, baseline)
        documents.append(
            {
                "format_version": 1,
                "host": state.host,
                "collected_at": state.collected_at,
                "baseline": baseline.name,
                "counts": audit.tally(findings),
                "findings": findings,
            }
        )
    if arguments.format == "json" and arguments.inventory:
        common.print_json({"format_version": 1, "hosts": documents, "unreached": unreached})
    elif arguments.format == "json":
        common.print_json(documents[0])
    else:
        out = text.Writer()
        for one in documents:
            if arguments.inventory:
                out.line(f"Host {one['host'].name}", "bold")
            text.audit(one["findings"], one["counts"], out, arguments.all)
        plans.unreached(unreached, out)
    if unreached:
        return 1
    return 2 if any(one["counts"][Outcome.FAIL] for one in documents) else 0
