"""Make the changes of a saved plan, look again, and keep a receipt. With --dry-run nothing is changed.

A plan is applied where it was made for, once, and within its time. With --approve just the plan of that digest
is applied, and with --allowed-signers just one that one of them signed; /etc/remediator/allowed_signers, where
it is there, is asked in any case.

exit codes: 0 nothing to change, 1 refused or failed, 2 changed (with --dry-run: would be changed)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import common

HELP = "make the changes of a saved plan"
EXAMPLE = """\
remediator apply plan.json --dry-run
  remediator apply plan.json --approve DIGEST
  remediator apply plan.json --yes --allowed-signers signers --signature plan.json.sig"""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", type=Path, help="a plan that `remediator plan -o` wrote")
    parser.add_argument("--dry-run", action="store_true", help="run the same playbook with --check --diff")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--approve", metavar="DIGEST", help="do not ask, and apply only the plan with this digest, given in full"
    )
    parser.add_argument(
        "--allowed-signers",
        metavar="FILE",
        type=Path,
        help="apply only a plan that is signed by one of these (see ALLOWED SIGNERS in ssh-keygen(1))",
    )
    parser.add_argument(
        "--signature", metavar="FILE", type=Path, help="the signature (default: the plan's name + .sig)"
    )
    parser.add_argument("-i", "--inventory", metavar="INVENTORY", default="", help="another inventory than the plan's")
    parser.add_argument(
        "--waves", metavar="LIST", default="1,25%,100%", help="hosts done after each wave (default: 1,25%%,100%%)"
    )
    parser.add_argument(
        "--max-failures",
        metavar="N",
        type=int,
        default=0,
        help="hosts that may fail before no further wave is begun (default: 0)",
    )
    parser.add_argument(
        "--confirm-within",
        metavar="SECONDS",
        type=int,
        default=300,
        help="when a host takes back by itself what could not be confirmed (default: 300)",
    )
    parser.add_argument("--resume", action="store_true", help="only take up a run of this plan that did not finish")
    common.format_argument(parser)


def _agreed(count: int) -> bool:
    from ..errors import ApplyError

    if not sys.stdin.isatty():
        raise ApplyError(
            "there is no terminal to ask on", "--yes goes ahead without asking, --approve DIGEST with just that plan"
        )
    answer = input(f"Make these {count} changes? Only 'yes' is taken for a yes: ")
    return answer.strip() == "yes"


def run(arguments: argparse.Namespace) -> int:
    from ..apply import apply, reach, receipts, waves
    from ..baseline import build, load_controls
    from ..errors import PlanRefusedError
    from ..patch import digest
    from ..plan import saved, signature
    from ..report import plans, text

    data = saved.read(arguments.plan)
    signed_by = signature.check(arguments.plan, data, arguments.signature, arguments.allowed_signers)
    plan = saved.parse(data, arguments.plan)
    if arguments.approve is not None:
        saved.check_approval(plan, arguments.approve)
    baseline = build(plan.source, load_controls(), "the plan's baseline")
    if digest(baseline) != plan.baseline_digest:
        raise PlanRefusedError("the plan was made with other controls than this program has", "plan again")
    out = text.Writer()
    changes = sum(len(host.changes) for host in plan.hosts)
    if not changes:
        if arguments.format == "text":
            out.line("Nothing to change.")
        else:
            common.print_json(apply.Prediction(True, ()))
        return 0
    hosts = reach.of(plan, arguments.inventory)
    if arguments.dry_run:
        try:
            predicted = apply.dry_run(plan, hosts, receipts.folder(hosts.root), common.progress())
        finally:
            common.clear_progress()
        if arguments.format == "json":
            common.print_json(predicted)
        else:
            text.prediction(predicted, out)
        return 2 if predicted.ok else 1
    rollout = apply.Rollout(
        arguments.waves, arguments.max_failures, max(10, arguments.confirm_within), arguments.resume
    )
    waves.parse(arguments.waves, len(plan.hosts))
    if not (arguments.yes or arguments.approve):
        plans.plan(plan, out)
        if not _agreed(changes):
            out.line("Nothing was changed.")
            return 1
    try:
        receipt = apply.apply(plan, baseline, hosts, common.progress(), rollout=rollout, signed_by=signed_by)
    finally:
        common.clear_progress()
    if arguments.format == "json":
        common.print_json(receipt)
    else:
        text.receipt(receipt, out)
    return 2 if receipt.ok else 1
