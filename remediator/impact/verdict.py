"""What a change would do here: what it breaks, what cannot be judged, what has been ruled out."""

from __future__ import annotations

from typing import Final

import msgspec

from ..model import Change, Model, Safety

BREAKS: Final = "breaks: "
UNKNOWN: Final = "cannot be judged: "
RULED_OUT: Final = "ruled out: "


class Verdict(Model, frozen=True):
    """Sentences by what they mean; `told` are those that decide nothing."""

    breaks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    ruled_out: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """What decides, under the word that says how, then the rest."""
        if self.breaks:
            return (*[BREAKS + one for one in self.breaks], *self.told)
        if self.unknown:
            return (*[UNKNOWN + one for one in self.unknown], *self.told)
        return (*[RULED_OUT + one for one in self.ruled_out], *self.told)


NOTHING: Final = Verdict()
_MANUAL, _UNSAFE, _SAFE = Safety  # a member of an enumeration takes long to look up


def breaks(*sentences: str, told: tuple[str, ...] = ()) -> Verdict:
    return Verdict(breaks=sentences, told=told)


def unknown(*sentences: str, told: tuple[str, ...] = ()) -> Verdict:
    return Verdict(unknown=sentences, told=told)


def ruled_out(*sentences: str, told: tuple[str, ...] = ()) -> Verdict:
    return Verdict(ruled_out=sentences, told=told)


def merged(verdicts: list[Verdict], told: tuple[str, ...] = ()) -> Verdict:
    """One verdict of several: what one of them breaks is broken."""
    return Verdict(
        tuple(line for one in verdicts for line in one.breaks),
        tuple(line for one in verdicts for line in one.unknown),
        tuple(line for one in verdicts for line in one.ruled_out),
        (*(line for one in verdicts for line in one.told), *told),
    )


def applied(change: Change, verdict: Verdict, tell: bool) -> Change:
    """The change by a verdict: what breaks is unsafe, what is ruled out safe, manual stays so.

    With `tell` the verdict is its evidence.
    """
    safety = change.safety
    if safety is not _MANUAL:
        if verdict.breaks:
            safety = _UNSAFE
        elif verdict.ruled_out and not verdict.unknown:
            safety = _SAFE
    evidence = (*change.evidence, *verdict.sentences) if tell else change.evidence
    return msgspec.structs.replace(change, safety=safety, evidence=evidence)


def some(names: list[str] | tuple[str, ...], most: int = 6) -> str:
    """Names in one phrase: the first few, and how many more."""
    shown = list(names)[:most]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")
