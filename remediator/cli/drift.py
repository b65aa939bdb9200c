"""Find what is no longer as runs left it, or fails the baseline; correct it; or have a timer do so.

--once       look now; with --mode correct also plan and apply within --fix and --max-disruption
install      write and enable a systemd service and timer that do so
uninstall    remove them
status       when the timer ran and runs

Where /etc/remediator/allowed_signers asks for signed plans, --mode correct is refused: a correction is planned by
the host itself, and no one signs it.
"""

from __future__ import annotations

import argparse
from typing import Any

from . import common

HELP = "find drift, correct it, on a schedule"
EXAMPLE = "remediator drift install --every 15m --mode correct --fix safe"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("install", "uninstall", "status"), help="the timer")
    parser.add_argument("--once", action="store_true", help="look now, once")
    parser.add_argument(
        "--mode",
        choices=("report", "correct"),
        default="report",
        help="only say it, or correct it as well (default: report)",
    )
    parser.add_argument(
        "--every",
        metavar="SPAN",
        default="15m",
        help="for install: a time span such as 90s, 15m or 1d (default: 15m)",
    )
    common.host_arguments(parser)
    common.baseline_argument(parser)
    common.policy_arguments(parser)
    common.format_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..errors import InputError, PlanRefusedError
    from ..plan import signature

    correcting = arguments.mode == "correct" and arguments.action in (None, "install")
    if correcting and signature.required() is not None:
        raise PlanRefusedError(
            f"drift: {signature.REQUIRED} asks for signed plans, and no one signs the plan of a correction",
            "--mode report tells what drifted; sign a plan, and apply it",
        )
    if arguments.action:
        return _timer(arguments)
    if not arguments.once:
        raise InputError("drift: say what to do", "--once, install, uninstall or status")
    return _once(arguments)


def _timer(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from ..baseline import bundled_baselines, load_baseline
    from ..drift import timer
    from ..report import text

    out = text.Writer()
    if arguments.action == "status":
        out.line(timer.status().replace("\n", " | "))
        return 0
    if arguments.action == "uninstall":
        for path in timer.uninstall():
            out.line(f"removed {path}")
        return 0
    load_baseline(arguments.baseline)
    bundled = arguments.baseline in bundled_baselines()
    baseline = arguments.baseline if bundled else str(Path(arguments.baseline).resolve())
    words = [
        "--mode",
        arguments.mode,
        "--fix",
        arguments.fix,
        "--max-disruption",
        arguments.max_disruption,
        *(["--defer"] if arguments.defer else []),
        "--baseline",
        baseline,
    ]
    for path in timer.install(arguments.every, words):
        out.line(f"wrote {path}")
    return 0


def _once(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    import structlog

    from .. import log
    from ..apply import apply, reach, receipts
    from ..baseline import load_baseline
    from ..drift import drift
    from ..plan.plan import make
    from ..report import plans, text

    log.configure()
    logger = structlog.get_logger()
    baseline = load_baseline(arguments.baseline)
    states, unreached = common.states(arguments)
    history = receipts.history(receipts.folder(arguments.root))
    found = [drift.compare(history, state) for state in states]
    inventory = common.inventory(arguments)
    plan = make(states, baseline, common.policy(arguments), datetime.now(UTC), inventory=inventory, unreached=unreached)
    changes = sum(len(host.changes) for host in plan.hosts)
    receipt = None
    if arguments.mode == "correct" and changes:
        logger.info("correcting", changes=changes, drifted=sum(map(len, found)), plan=plan.digest[:16])
        receipt = apply.apply(plan, baseline, reach.of(plan), common.progress(), kind="drift")
        logger.info("corrected", run=receipt.run, ok=receipt.ok)
    hosts: list[dict[str, Any]] = [
        {"host": state.host, "drifted": drifted, "fixable": host.findings}
        for state, drifted, host in zip(states, found, plan.hosts, strict=True)
    ]
    if arguments.format == "json":
        rest = {"hosts": hosts, "unreached": unreached} if arguments.inventory else hosts[0]
        common.print_json({"format_version": 1, **rest, "receipt": receipt})
    else:
        out = text.Writer()
        for one in hosts:
            if arguments.inventory:
                out.line(f"Host {one['host'].name}", "bold")
            text.drift(one["drifted"], list(one["fixable"]), plan.controls, out)
        plans.unreached(unreached, out)
        if receipt is not None:
            text.receipt(receipt, out)
    if unreached or (receipt is not None and not receipt.ok):
        return 1
    return 2 if changes or any(found) else 0
