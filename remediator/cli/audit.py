"""Hold a host against a baseline and say what is wrong. Nothing is changed."""

from __future__ import annotations

import argparse

from . import common

HELP = "say what is wrong with a host"
EXAMPLE = "remediator audit --format json"


def add(parser: argparse.ArgumentParser) -> None:
    common.host_arguments(parser)
    common.baseline_argument(parser)
    common.format_argument(parser)
    parser.add_argument("--all", action="store_true", help="show every finding, also those that pass")


def run(arguments: argparse.Namespace) -> int:
    from .. import audit
    from ..baseline import load_baseline
    from ..model import Outcome
    from ..report import text

    baseline = load_baseline(arguments.baseline)
    state = common.state(arguments)
    findings = audit.audit(state, baseline)
    tally = audit.tally(findings)
    if arguments.format == "json":
        common.print_json(
            {
                "format_version": 1,
                "host": state.host,
                "collected_at": state.collected_at,
                "baseline": baseline.name,
                "counts": tally,
                "findings": findings,
            }
        )
    else:
        text.audit(findings, tally, text.Writer(), arguments.all)
    return 2 if any(one.outcome is Outcome.FAIL for one in findings) else 0
