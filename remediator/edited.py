"""Edits of text that can be made on the text's own host, where only a masked copy of it has left that.

A text that left its host with secrets masked still has all its positions, so an edit is a list of
pieces: [start, end] is a slice of the text on the host (in characters), a string is new text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final

from .errors import InputError
from .model import FileEdit

Piece = list[int] | str

_MASKS: Final = frozenset("*\u2022")  # collect/probe.py and collect/masks.py


class EditedText:
    """A text under edit that remembers which of its characters were there before."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._origin: list[int] = list(range(len(text)))

    def replace(self, start: int, end: int, new: str) -> None:
        """Put new text in the place of text[start:end]."""
        self.text = self.text[:start] + new + self.text[end:]
        self._origin[start:end] = [-1] * len(new)

    def pieces(self) -> list[Piece]:
        """The edited text as slices of the original and new strings."""
        found: list[Piece] = []
        numbered = list(enumerate(self._origin))
        for key, run in groupby(numbered, key=lambda one: None if one[1] < 0 else one[1] - one[0]):
            items = list(run)
            if key is None:
                found.append(self.text[items[0][0] : items[-1][0] + 1])
            else:
                found.append([items[0][1], items[-1][1] + 1])
        return found


def join(pieces: list[Piece], original: str) -> str:
    """The text that pieces make of an original."""
    return "".join(one if isinstance(one, str) else original[one[0] : one[1]] for one in pieces)


def invert(pieces: list[Piece], original: str) -> list[Piece]:
    """The pieces that lead from the edited text back to the original."""
    found: list[Piece] = []
    at = done = 0
    for one in pieces:
        if isinstance(one, str):
            at += len(one)
            continue
        if one[0] > done:
            found.append(original[done : one[0]])
        found.append([at, at + one[1] - one[0]])
        at += one[1] - one[0]
        done = one[1]
    if done < len(original):
        found.append(original[done:])
    return found


def file_edit(path: str, file: Mapping[str, Any], edited: EditedText, mode: str = "0644") -> FileEdit | None:
    """The edit of a file, given the evidence of it and its text under edit; None where nothing changes.

    Raises InputError where new text would hold characters of a mask.
    """
    original = file.get("text", "")
    if edited.text == original and file.get("type") != "absent":
        return None
    before = file.get("sha256", "")
    if not file.get("masked"):
        after = hashlib.sha256(edited.text.encode()).hexdigest()
        return FileEdit(path, before, after, content=edited.text, mode=mode)
    pieces = edited.pieces()
    if any(isinstance(one, str) and set(one) & _MASKS for one in pieces):  # a mask may be one character
        raise InputError(f"{path}: the new value would hold a secret that does not leave the host")
    return FileEdit(path, before, "", pieces=tuple(pieces), inverse=tuple(invert(pieces, original)), masked=True)
