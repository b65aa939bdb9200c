"""Masking of compose files and units: no value of a variable leaves the host, and the rest still parses."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from remediator.collect import masks, probe

SECRET = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be


def compose(text: str) -> str:
    """A compose file as the probe masks it."""
    return masks.mask_compose(text, lambda one, character: probe.mask(one, None, character))


def unit(text: str) -> str:
    """A unit as the probe masks it."""
    return masks.mask_unit(text, lambda one, character: probe.mask(one, None, character))


@pytest.mark.parametrize(
    "block",
    [
        "environment:\n      PLAIN: %s\n",
        "environment:\n      plain: '%s'  # %s\n      other: \"%s: %s\"\n",
        "environment:\n      - PLAIN=%s\n      - 'TWO=a %s' # %s\n      - \"THREE=%s\"\n      - PASSED\n",
        "environment:\n    - PLAIN=%s\n    - plain=%s\n",
        'environment: {PLAIN: %s, B: "}%s", C: it\'s %s}\n',
        "environment: [PLAIN=%s,\n      'B=%s']\n",
        '"environment":\n      PLAIN: %s\n',
        "environment: # %s\n      # PLAIN: %s\n\n      PLAIN: %s\n",
        "environment:\n      PLAIN: |\n        %s\n\n        x: %s\n      B: 1\n",
        'environment:\n      PLAIN: "one\n        %s: two"\n      B: 1\n',
        "environment: &env\n      PLAIN: &one %s\n      B: *one\n",
        "environment:\n      <<: *shared\n      B: %s\n",
        "environment: *shared\n",
        "build:\n      context: .\n      args:\n        plain: %s\n",
        "build: {context: ., args: {plain: %s}}\n",
        "labels:\n      - PLAIN=%s\n      - a.token=%s\n      db_password: %s\n".replace("      db", "    x-db"),
        'command: ["--password=%s", "https://u:%s@host/"]\n',
        "admin_password: %s\n",
        "x-note: 1\n    # - PLAIN=%s\n",
    ],
)
def test_values_of_variables_are_masked_in_compose_files(block: str) -> None:
    """Every form in which a service is given variables, with comments, anchors and texts over several lines."""
    text = f"x-any: &shared\n  plain: {SECRET}\n  b:\n    - {SECRET}\nservices:\n  web:\n    image: app:1\n    {block}"
    text = text.replace("%s", SECRET) + "    read_only: false\n  db:\n    image: db:1\n"
    shared = "*shared" in block
    if not shared:
        text = text.replace(SECRET, "open", 2)
    masked = compose(text)
    assert (len(masked), SECRET in masked) == (len(text), False)
    services = yaml.safe_load(masked)["services"]
    assert (services["web"]["image"], services["web"]["read_only"]) == ("app:1", False)
    assert services["db"] == {"image": "db:1"}
    assert compose(masked) == masked


def test_ends_of_lines_stay() -> None:
    """CRLF is no part of a value."""
    text = "services:\r\n  web:\r\n    environment:\r\n      A: x\r\n    image: app\r\n"
    assert compose(text) == text.replace("A: x", f"A: {masks.MASK}")


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
plain = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_characters="\x7f"), max_size=20)


@given(variables=st.dictionaries(names, plain, min_size=1, max_size=4), flow=st.booleans(), listed=st.booleans())
def test_no_yaml_of_variables_gets_through(variables: dict[str, str], flow: bool, listed: bool) -> None:
    """However a writer of YAML spells it, the secret is masked, the length stays, and the services are there."""
    secret = {key: f"{value}{SECRET}" for key, value in variables.items()}
    environment: Any = [f"{key}={value}" for key, value in secret.items()] if listed else secret
    document = {"services": {"web": {"environment": environment, "image": "app"}, "db": {"image": "db"}}}
    text = yaml.safe_dump(document, default_flow_style=flow, allow_unicode=True, sort_keys=False)
    masked = compose(text)
    assert (len(masked), SECRET in masked) == (len(text), False)
    if not flow:
        assert yaml.safe_load(masked)["services"]["db"] == {"image": "db"}


@pytest.mark.parametrize(
    "line",
    [
        "-e PLAIN=%s",
        "-ePLAIN=%s",
        "-itePLAIN=%s",
        "--env PLAIN=%s",
        "--env=PLAIN=%s",
        "-e 'PLAIN=two %s'",
        '-e "PLAIN=a \\" %s"',
        "-e PLAIN='two %s'",
        '--env=PLAIN="two \\\n  %s"',
        "-e \\\n  PLAIN=%s",
        "--registry-token=%s",
    ],
)
def test_values_of_variables_are_masked_in_units(line: str) -> None:
    """Every way in which a command line gives a variable; words stay words."""
    text = f"[Service]\nEnvironment=PLAIN=%s \\\n  'B=%s'\nExecStart=docker run {line} --name web app %s-other\n"
    text = text.replace("%s-other", "other").replace("%s", SECRET)
    masked = unit(text)
    assert (len(masked), SECRET in masked) == (len(text), False)
    assert masked.endswith(" --name web app other\n")
    assert [len(one) for one in masked.splitlines()] == [len(one) for one in text.splitlines()]


@pytest.mark.parametrize("word", ["environment: {", "- A=", "A: ", "environment:\n", "&a ", "*a", "-e A='", '"'])
def test_masking_takes_no_time(word: str) -> None:
    """A file made to keep the probe busy does not."""
    import time

    started = time.monotonic()
    compose(word * 20_000)
    unit("ExecStart=docker run " + word * 20_000)
    assert time.monotonic() - started < 4
