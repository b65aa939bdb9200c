"""Say for each scenario what the change would break, make it, look: recall and precision of "will break"."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.impact.prove import Proof, prove
from tests.impact.scenario import load, spread
from tests.lab.lab import sweep
from tests.lab.machine import lab_unavailable_reason
from tests.lab.recipe import GENERATIONS

RECALL, PRECISION = 1.0, 0.95  # the least of each


def show(proofs: Sequence[Proof]) -> None:
    """A table of what was said and what came."""
    print(f"{'scenario':30} {'engine':6} {'control':28} {'said':8} {'then':7}")
    for one in sorted(proofs, key=lambda each: (each.control, each.scenario, each.generation)):
        then = "error" if one.error else "works" if one.works else "broke"
        mark = " " if agrees(one) else "*"
        print(
            f"{one.scenario:30} {one.generation:6} {one.control:28} {one.said:8} {then:7}{mark} {one.error or one.why}"
        )


def agrees(proof: Proof) -> bool:
    """Whether a prediction was right, or left open what then went well."""
    return not proof.error and (not proof.works if proof.said == "breaks" else proof.works)


def summary(proofs: Sequence[Proof]) -> tuple[str, bool]:
    """The last line, and whether the targets are met: a break that was not foretold counts, whatever was said."""
    valid = [one for one in proofs if not one.error]
    broke = [one for one in valid if not one.works]
    foretold = [one for one in valid if one.said == "breaks"]
    hits = len([one for one in broke if one.said == "breaks"])
    recall = hits / len(broke) if broke else 1.0
    precision = hits / len(foretold) if foretold else 1.0
    opened = len([one for one in valid if one.said == "unknown"])
    silent = len([one for one in broke if one.said == "safe"])
    met = recall >= RECALL and precision >= PRECISION and len(valid) == len(proofs) and bool(proofs)
    errors = len(proofs) - len(valid)
    text = (
        f"impact: {'met' if met else 'MISSED'}: {len(proofs)} scenarios, {len(broke)} broke, {hits} of them foretold "
        f"(recall {100 * recall:.0f} %), {len(foretold)} foretold (precision {100 * precision:.0f} %), "
        f"{opened} left open, {silent} said to be safe and broke, {errors} errors"
    )
    return text, met


def main(words: Sequence[str] | None = None) -> int:
    """Exit 0 only where the targets are met and every scenario could be judged."""
    parser = argparse.ArgumentParser(prog="python -m tests.impact", description=__doc__)
    parser.add_argument("--quick", type=int, metavar="N", default=0, help="the first N of the quick ones, on one host")
    parser.add_argument("--generation", choices=sorted(GENERATIONS), action="append", help="only these engines")
    parser.add_argument("--only", metavar="TEXT", default="", help="only scenarios with this in their id or control")
    arguments = parser.parse_args(words)
    if reason := lab_unavailable_reason():
        print(f"impact: no lab on this machine: {reason}")
        return 1
    sweep()
    chosen = tuple(one for one in load() if arguments.only in one.id or arguments.only in one.control)
    generations = tuple(arguments.generation or GENERATIONS)
    if arguments.quick:
        chosen = tuple(one for one in chosen if one.quick)[: arguments.quick]
        generations = tuple(arguments.generation or ("26.1",))
    with TemporaryDirectory(prefix="impact-") as folder:
        proofs = prove(spread(chosen, generations), Path(folder))
    show(proofs)
    text, met = summary(proofs)
    print(text)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
