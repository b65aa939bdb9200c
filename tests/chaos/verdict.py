"""What became of a fault."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import strikes

# what a host says that refuses to go on: it has gone back or does so, or the plan is not for what it then is, since a
# limit that cannot be lifted stays on `once`
REFUSALS = ("taken back", "has changed since it was made")
BY_ITSELF = ("it was not confirmed within", "the host was started anew")  # why a host goes back with nobody's help
ASKED = "it was asked for"  # by an apply or a rollback


@dataclass
class Verdict:
    """What became of one fault; one strike at the control machine is a fault to each host whose apply it cuts."""

    kind: str
    generation: str
    host: str
    moment: str
    hit: bool
    strike: str = ""  # a name for what was done, the same for all hosts that it has hit
    state: str = ""  # before or after
    taken_back: bool = False  # by the apply itself, whose ansible was hit
    resumed: str = ""  # done, or why not; "" where it was not tried
    problems: list[str] = field(default_factory=list)
    journals: dict[str, str] = field(default_factory=dict)
    daemon: str = ""  # what the daemon of a host said that did not survive

    @property
    def survived(self) -> bool:
        return not self.problems


def judge_resume(verdict: Verdict) -> None:
    """A run that only lost its control machine is done by a resume, unless the host has gone back before.

    By itself, or since the apply outlived its ansible and took it back. The host has to say so, and to be as before in
    the end; how its last way back began stands in its journals. A run that failed as it was resumed was taken back as
    well, but that is no way to survive.
    """
    if verdict.kind not in strikes.EVERYWHERE or verdict.resumed in ("", "done"):
        return
    lines = [json.loads(line) for _, text in sorted(verdict.journals.items()) for line in text.splitlines()]
    reasons = [line["reason"] for line in lines if (line["step"], line["state"]) == ("undo", "will")]
    allowed = (*BY_ITSELF, ASKED) if verdict.taken_back else BY_ITSELF
    gone_back = bool(reasons) and reasons[-1].startswith(allowed)
    if not (gone_back and verdict.state == "before" and any(one in verdict.resumed for one in REFUSALS)):
        verdict.problems.append(f"not resumed: {verdict.resumed} [ways back: {'; '.join(reasons) or 'none'}]")


def journal_lines(verdict: Verdict) -> str:
    """The journals of a verdict, to reproduce what was seen."""
    return "\n".join(f"{run}\n{text}" for run, text in verdict.journals.items())


def save(path: Path, verdicts: list[Verdict]) -> None:
    """Keep all that was seen."""
    path.write_text(json.dumps([vars(one) for one in verdicts], indent=1))
