"""Running playbooks by ansible itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from remediator import runner


def test_an_ansible_that_says_nothing_any_more_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it did before is known."""
    queue = tmp_path / "queue"
    os.mkfifo(queue)

    def project(folder: Path) -> None:
        """Say a word, and then wait for somebody to write."""
        tasks = [{"ansible.builtin.debug": {"msg": "here"}}, {"ansible.builtin.command": {"argv": ["cat", str(queue)]}}]
        play = {"hosts": "all", "gather_facts": False, "tasks": tasks}
        (folder / "playbook.yml").write_text(json.dumps([play]))
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {"here": here}}}))

    monkeypatch.setattr(runner, "SILENCE", 20)
    result = runner.run(project, check=False)
    os.close(os.open(queue, os.O_RDWR))  # what ansible's worker began goes on, and ends by this
    assert (result.ok, result.status) == (False, "timeout")
    assert [(one.host, one.failed) for one in result.results] == [("here", False)]
