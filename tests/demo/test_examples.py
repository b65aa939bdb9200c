"""The examples in the repository are what the program says today; the demo runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples import demo, record, regenerate, scratch
from remediator.baseline import load_baseline

REPOSITORY = Path(__file__).parents[2]
LOGGED = "0f8e7c1a-not-a-real-token-5b2d"


def _files(root: Path) -> dict[str, bytes]:
    made = [path for name in regenerate.MADE for path in ([root / name, *(root / name).rglob("*")])]
    return {str(path.relative_to(root)): path.read_bytes() for path in made if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The examples, made anew elsewhere."""
    target = tmp_path_factory.mktemp("examples")
    regenerate.regenerate(target)
    return _files(target)


def test_examples_are_what_the_program_says_today(made: dict[str, bytes]) -> None:
    """Regenerated files equal those in the repository; `make examples` brings them up to date."""
    known = _files(regenerate.HERE)
    assert sorted(known) == sorted(made)
    assert [name for name in known if known[name] != made[name]] == []


def test_examples_tell_no_secret_and_no_path_of_this_machine(made: dict[str, bytes]) -> None:
    """Neither the log token nor the place of the repository is in what was made."""
    told = b"".join(made.values())
    assert LOGGED.encode() not in told
    assert str(REPOSITORY).encode() not in told
    assert LOGGED not in (scratch.HOST / "engine.json").read_text()


def test_recording_holds_no_environment() -> None:
    """The recorded engine data has no environment variables, and the containers that the recorder runs."""
    document = json.loads((scratch.HOST / "engine.json").read_text())
    assert [one["Name"] for one in document["inspect"] if "Env" in one["Config"]] == []
    names = [f"/{one[0]}" for one in record.CONTAINERS] + [f"/{record.STOPPED[0]}"]
    assert names == [one["Name"] for one in document["inspect"]]


def test_scratch_copy_has_bad_modes_whatever_the_umask(tmp_path: Path) -> None:
    """Bad modes are set on the copy, and the same under any umask."""
    old = os.umask(0o077)
    try:
        root = scratch.make(tmp_path / "host")
    finally:
        os.umask(old)
    modes = {name: (root / name).stat().st_mode & 0o7777 for name in [*scratch.BAD_MODES, "etc/environment"]}
    assert modes == {**scratch.BAD_MODES, "etc/environment": 0o644}


def test_example_baseline_is_valid() -> None:
    """The commented baseline loads, with its waivers."""
    baseline = load_baseline(str(REPOSITORY / "examples/baseline.yaml"))
    assert (baseline.name, len(baseline.waivers)) == ("shop", 4)


def test_demo_ends_well(tmp_path: Path) -> None:
    """The tour runs to its end without Docker, and shows what is fixed, pending and held."""
    if not demo.PROGRAM.is_file():
        pytest.skip("the program is not installed beside this Python")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    for told in (" pending activation, 0 not fixed.", "Pending activation, ", "Held, ", "\nDone in "):
        assert told in done.stdout
    assert "DOCKER_CONTENT_TRUST=1\n" in (tmp_path / demo.ROOT / "etc/environment").read_text()
    assert LOGGED in (tmp_path / demo.ROOT / "etc/docker/daemon.json").read_text()
