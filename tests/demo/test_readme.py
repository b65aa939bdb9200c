"""The README's commands exist: they parse, their options are known, their files and targets are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from remediator.baseline import BaselineFile, build, load_controls
from remediator.cli import parser

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SHOWN = [line.strip().removeprefix("sudo ") for line in README.splitlines() if line.startswith("    ")]
INLINE = re.findall(r"`([^`\n]+)`", README)
COMMANDS = [one for one in SHOWN if one.startswith("remediator ")]
TARGETS = sorted(
    {one.split()[1] for one in [*SHOWN, *INLINE] if one.startswith("make ")}
    | set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
)


def test_readme_shows_every_command() -> None:
    """Each command of the program is shown at least once."""
    shown = {one.split()[1] for one in COMMANDS}
    assert {"collect", "audit", "plan", "apply", "rollback", "drift", "history", "controls"} == shown


@pytest.mark.parametrize("command", COMMANDS)
def test_command_parses(command: str) -> None:
    """A command of the README is one that the program takes."""
    arguments = parser().parse_args(shlex.split(command)[1:])
    assert command.split()[1] == arguments.command


@pytest.mark.parametrize("option", sorted({one.split()[0] for one in INLINE if one.startswith("--")}))
def test_option_exists(option: str) -> None:
    """An option that the README names is known to some command."""
    known = {
        name
        for action in parser()._actions
        if isinstance(action.choices, dict)
        for command in action.choices.values()
        for one in command._actions
        for name in one.option_strings
    }
    assert option in known


@pytest.mark.parametrize("target", TARGETS)
def test_make_target_exists(target: str) -> None:
    """A make target that is named has a rule, and is phony."""
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", text, re.MULTILINE)
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony and target in phony[1].split()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", README))))
def test_link_leads_somewhere(link: str) -> None:
    """What the README links to is in the repository."""
    assert (REPOSITORY / link).exists()


@pytest.mark.parametrize(
    "control", sorted(one for one in set(INLINE) if re.fullmatch(r"(docker|env|file)-[a-z-]+", one))
)
def test_control_exists(control: str) -> None:
    """A control that the README names is one."""
    assert control in load_controls()


def test_baseline_of_the_readme_is_valid() -> None:
    """The baseline shown can be loaded as it stands."""
    import msgspec
    import yaml

    text = README.partition("    name: shop\n")
    shown = "    name: shop\n" + text[2].partition("\n\n")[0]
    document = yaml.safe_load("\n".join(line[4:] for line in shown.splitlines()))
    baseline = build(msgspec.convert(document, BaselineFile), load_controls())
    assert (baseline.name, len(baseline.waivers)) == ("shop", 1)
