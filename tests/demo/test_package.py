"""The package: a wheel without junk, that works where only it is installed; a source archive to build from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from examples import scratch

REPOSITORY = Path(__file__).parents[2]
SUFFIXES = {".py", ".yaml", ".yml", ".j2"}


def _run(*argv: str, cwd: Path = REPOSITORY, codes: tuple[int, ...] = (0,)) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with wheel and source archive."""
    target = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "hatchling", "build", "-d", str(target))
    return target


def test_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    """Every file of the package and of playbooks/ is in the wheel, and no other."""
    wanted = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "remediator").rglob("*")
        if path.is_file() and path.suffix in SUFFIXES
    }
    wanted |= {
        f"remediator/{path.relative_to(REPOSITORY)}"
        for path in (REPOSITORY / "playbooks").rglob("*")
        if path.is_file() and path.suffix in SUFFIXES
    }
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert wanted == names


def test_source_archive_builds_the_wheel_again(built: Path, tmp_path: Path) -> None:
    """The source archive is whole, without caches, and the wheel made from it has the same files."""
    packed = next(built.glob("*.tar.gz"))
    with tarfile.open(packed) as archive:
        names = archive.getnames()
    shutil.unpack_archive(packed, tmp_path)
    assert [name for name in names if any(part in name for part in ("__pycache__", ".venv", "_cache/"))] == []
    source = next(tmp_path.iterdir())
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist"), cwd=source)
    with zipfile.ZipFile(next(built.glob("*.whl"))) as one, zipfile.ZipFile(next(tmp_path.glob("dist/*.whl"))) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())


def test_installed_wheel_emits_a_plan(built: Path, tmp_path: Path) -> None:
    """In a fresh environment the command finds its controls and playbooks in the wheel alone."""
    environment = tmp_path / "venv"
    venv.create(environment, symlinks=True)
    python = environment / "bin/python"
    wheel = next(built.glob("*.whl"))
    _run(sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", str(wheel))
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    root = scratch.make(tmp_path / "host")
    program = str(environment / "bin/remediator")
    told = _run(program, "plan", "--root", str(root), "--emit", str(tmp_path / "project"), cwd=tmp_path, codes=(2,))
    assert "Host shop01" in told
    emitted = {str(path.relative_to(tmp_path / "project")) for path in (tmp_path / "project").rglob("*")}
    assert {"plan.json", "playbook.yml", "guard.py", "inventory.json", "patches", "host_vars"} <= emitted
    where = _run(str(python), "-c", "import remediator; print(remediator.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(environment)
