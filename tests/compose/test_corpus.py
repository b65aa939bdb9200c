"""Every project of the corpus is patched as it says, in those lines alone, and once."""

from __future__ import annotations

import pytest

from remediator import compose
from tests.compose.corpus import Case, cases, changed_lines, changes, differences, loaded, patched

every = pytest.mark.parametrize("case", cases(), ids=lambda one: one.name)


def test_the_corpus_is_large() -> None:
    """There are at least 60 projects, and no two of one name."""
    names = [one.name for one in cases()]
    assert len(names) >= 60
    assert len(names) == len(set(names))


@every
def test_only_intended_lines_change(case: Case) -> None:
    """A diff shows the lines that the case names and no other, and the ends of lines stay."""
    project, refused = patched(case)
    assert case.lines == changed_lines(case.texts, dict(project.texts))
    assert case.refused.keys() == refused.keys()
    for service, reasons in case.refused.items():
        assert reasons.keys() == refused[service].keys()
        for pointer, part in reasons.items():
            assert part in refused[service][pointer]


@every
def test_loading_both_gives_the_intended_difference(case: Case) -> None:
    """What another YAML reader sees change is what the case says, and nothing else."""
    project, _ = patched(case)
    seen = {
        path: found
        for path, text in case.texts.items()
        if path.endswith((".yml", ".yaml")) and (found := differences(loaded(text), loaded(project.texts[path])))
    }
    assert case.data == seen


@every
def test_patching_twice_changes_nothing(case: Case) -> None:
    """The same changes asked of the patched project are no edit."""
    project, _ = patched(case)
    for service, wanted in case.patch.items():
        kept = {one: value for one, value in wanted.items() if one not in case.refused.get(service, {})}
        made = compose.patch(project, service, changes(project, service, kept))
        assert (made.texts, made.refused) == ({}, ())


@every
def test_pieces_make_the_text_on_the_host(case: Case) -> None:
    """An edit told as slices and new strings gives the same text."""
    project = case.project()
    for service, wanted in case.patch.items():
        made = compose.patch(project, service, changes(project, service, wanted))
        for path, edited in made.texts.items():
            original = project.texts[path]
            pieces = (one if isinstance(one, str) else original[one[0] : one[1]] for one in edited.pieces())
            assert made.project.texts[path] == "".join(pieces)
        project = made.project
