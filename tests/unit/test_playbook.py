"""The emitted project under plain ansible-playbook: what is predicted is done, and host data stays data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from remediator.edited import join
from remediator.errors import InputError
from remediator.model import FileEdit, LiveUpdate
from remediator.plan import playbook, saved
from remediator.plan.model import Plan
from tests.unit.host import CONFIG, ENVIRONMENT, RULES, Tree, inspect, program
from tests.unit.strategies import documents, texts

SECRET: Final = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be
ATTACK: Final = "{{ lookup('pipe', 'touch pwned') }}"
PROFILE: Final = "/etc/profile.d/{{ lookup('pipe', 'touch pwned') }}.sh"
TEXTS: Final = {
    CONFIG: (
        '\ufeff{\r\n\t"zzz": "ATTACK",\r\n\t"icc": true,\r\n\t"log-opts": {"tag": "{{.Name}}", "a-token": "SECRET"},'
        '\r\n\t"{% raw %}": "{# é😀 #}",\r\n\t"aaa": [1.0, 1e3, "\\u00e9"]\r\n}\r\n\r\n'
    )
    .replace("ATTACK", ATTACK)
    .replace("SECRET", SECRET),
    ENVIRONMENT: f"$ANSIBLE_VAULT;1.1;AES256\nPASSWORD={SECRET}\nX={ATTACK}\n\nDOCKER_CONTENT_TRUST=0\n#jinja2: x\n\n",
    RULES: (
        f"$ANSIBLE_VAULT;1.1;AES256 {ATTACK}\n# {{% set x = lookup('pipe', 'touch pwned') %}} é\n-w /etc/docker -p r\n"
    ),
    PROFILE: f"export DOCKER_CONTENT_TRUST=0 # {ATTACK} {{% endraw %}} {{#\n",
}
AFTER: Final = {
    CONFIG: TEXTS[CONFIG].replace('"icc": true', '"icc": false'),
    ENVIRONMENT: TEXTS[ENVIRONMENT].replace("TRUST=0", "TRUST=1"),
    RULES: TEXTS[RULES].replace("-w /etc/docker -p r\n", "-w /etc/docker -p rwa -k docker\n"),
    PROFILE: TEXTS[PROFILE].replace("TRUST=0", "TRUST=1"),
}


class Emitted(NamedTuple):
    """A hostile tree, its plan, the emitted project, and what `remediator plan` said."""

    tree: Tree
    plan: Plan
    project: Path
    said: str


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    """A tree whose every text is an attack, planned and emitted."""
    tree = Tree(tmp_path_factory.mktemp("hostile"))
    for path, text in TEXTS.items():
        tree.write(path, text)
    tree.path(CONFIG).chmod(0o646)
    tree.record(
        inspect(ATTACK, labels={"com.docker.compose.project": ATTACK}),
        info={"Driver": ATTACK, "ServerVersion": "99.0.0"},
    )
    tree.write("/etc/systemd/system/docker.service.d/{{ 7 * 7 }}.conf", f"[Service]\nEnvironment=A_TOKEN={SECRET}\n")
    chosen = tree.folder / "baseline.yaml"
    controls = ["docker-icc", "env-content-trust", "audit-etc-docker", "file-daemon-config-mode", "container-memory"]
    chosen.write_text(json.dumps({"name": "hostile", "include": controls}), encoding="utf-8")
    project = tree.folder / "project"
    done = program(
        *("plan", "--root", tree.root, "--baseline", chosen, "--fix", "unsafe", "--max-disruption", "restart"),
        *("-o", tree.folder / "plan.json", "--emit", project),
    )
    assert done.returncode == 2, done.stderr
    return Emitted(tree, saved.load(tree.folder / "plan.json"), project, done.stdout)


def emit(tree: Tree, folder: Path, *controls: str) -> Path:
    """The project of a plan for some controls on a tree."""
    chosen, project = folder / "baseline.yaml", folder / "project"
    chosen.write_text(json.dumps({"name": "x", "include": controls}), encoding="utf-8")
    policy = ("--fix", "unsafe", "--max-disruption", "restart")
    done = program("plan", "--root", tree.root, "--baseline", chosen, *policy, "--emit", project)
    assert done.returncode == 2, done.stderr
    return project


def play(project: Path, *options: str) -> tuple[int, int, str]:
    """Run ansible-playbook on a project: its return code, the number of changed tasks, and what it said."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "inventory.json", "playbook.yml", *options],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(project.parent),
            "LANG": "C.UTF-8",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_REMOTE_TMP": str(project.parent / ".tmp"),  # a user may have no home
        },
    )
    changed = re.search(r"changed=(\d+)", done.stdout)
    return done.returncode, int(changed[1]) if changed else -1, done.stdout + done.stderr


def contents(folder: Path) -> Iterator[tuple[Path, str]]:
    """All files below a directory with their texts."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_text(encoding="utf-8")


def test_the_plan_is_what_the_texts_become(emitted: Emitted) -> None:
    """Contents, and pieces of what is on the host, are the expected new texts to the byte."""
    edits = {one.path: one for one in emitted.plan.hosts[0].steps.files}
    made = {path: join(list(one.pieces), TEXTS[path]) if one.masked else one.content for path, one in edits.items()}
    assert made == AFTER


def test_secrets_are_in_nothing_that_is_emitted(emitted: Emitted) -> None:
    """Neither the plan, nor a file of the project, nor what is said about them holds a secret."""
    found = [str(path) for path, text in contents(emitted.project) if SECRET in text]
    assert found == []
    assert SECRET not in (emitted.tree.folder / "plan.json").read_text(encoding="utf-8")
    assert SECRET not in emitted.said


def test_files_are_for_their_owner_alone(emitted: Emitted) -> None:
    """The project holds a host's configuration, and nobody else reads it."""
    assert {0o600} == {path.stat().st_mode & 0o777 for path, _ in contents(emitted.project)}


def test_nothing_that_could_be_a_template_is_unmarked(emitted: Emitted) -> None:
    """In the variables of the host every text with a brace stands behind !unsafe."""
    text = (emitted.project / "host_vars" / "localhost.yml").read_text(encoding="utf-8")
    assert ATTACK.replace("'", "''") in text
    assert "!unsafe" in text
    plain = yaml.load(text, Loader=_plain_loader())  # noqa: S506 - made of the safe loader
    assert [one for one in _texts(plain) if "{" in one] == []


def test_check_apply_check_is_predicted_done_nothing(emitted: Emitted) -> None:
    """The first check tells the changes of the run, which makes them to the byte, and the last one none."""
    tree, project = emitted.tree, emitted.project
    before = tree.snapshot()
    rc, predicted, told = play(project, "--check", "--diff")
    assert (0, before) == (rc, tree.snapshot()), told
    rc, done, said = play(project, "--diff")
    assert (0, predicted) == (rc, done), said
    assert predicted > 0
    assert {path: tree.read(path) for path in TEXTS} == AFTER
    assert tree.path(CONFIG).stat().st_mode & 0o777 == 0o644
    once = tree.snapshot()
    rc, again, told_again = play(project, "--check", "--diff")
    assert (0, 0, once) == (rc, again, tree.snapshot()), told_again
    assert SECRET not in told + said + told_again
    assert list(tree.folder.rglob("pwned*")) == []
    assert SECRET in tree.read(CONFIG)


def test_a_file_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    """Where one file is another than planned for, no file is changed at all."""
    tree = Tree(tmp_path)
    tree.write(CONFIG, '{"icc": true, "log-opts": {"splunk-token": "' + SECRET + '"}}')
    tree.write(ENVIRONMENT, "DOCKER_CONTENT_TRUST=0\n")
    project = emit(tree, tmp_path, "docker-icc", "env-content-trust")
    tree.write(CONFIG, tree.read(CONFIG).replace(SECRET, "another-secret"))
    before = tree.snapshot()
    rc, changed, said = play(project)
    assert (rc, changed) == (2, 0), said
    assert "The file has changed since the plan was made" in said
    assert before == tree.snapshot()
    assert "another-secret" not in said


def test_what_somebody_writes_while_it_runs_is_not_overwritten(tmp_path: Path) -> None:
    """A file is looked at once more just before it is written; the run goes back, and the edit stays."""
    tree = Tree(tmp_path)
    tree.write(CONFIG, '{"icc": true}')
    tree.write(ENVIRONMENT, "DOCKER_CONTENT_TRUST=0\n")
    project = emit(tree, tmp_path, "docker-icc", "env-content-trust")
    text = (project / "playbook.yml").read_text(encoding="utf-8")
    edit = "- ansible.builtin.shell: echo mine > " + str(tree.path(CONFIG))
    task = "        - name: Write the files\n"
    (project / "playbook.yml").write_text(text.replace(task, f"        {edit}\n\n{task}"), encoding="utf-8")
    rc, _, said = play(project)
    assert rc == 2
    assert f"{tree.path(CONFIG)}: has changed since the run began" in said
    assert (tree.read(CONFIG), tree.read(ENVIRONMENT)) == ("mine\n", "DOCKER_CONTENT_TRUST=0\n")


def test_a_plan_is_for_one_host_and_one_use_and_a_time(tmp_path: Path) -> None:
    """Also where plain ansible-playbook runs it: that is for the host itself to see."""
    tree = Tree(tmp_path)
    tree.write("/etc/machine-id", "1" * 32)
    tree.write(CONFIG, '{"icc": true}')
    project = emit(tree, tmp_path, "docker-icc")
    variables = project / "host_vars/localhost.yml"
    text = variables.read_text(encoding="utf-8")

    tree.write("/etc/machine-id", "2" * 32)
    assert "made for the host with machine-id 1111" in play(project, "--check")[2]
    tree.write("/etc/machine-id", "1" * 32)

    variables.write_text(re.sub(r"expires: .*", "expires: 1000", text), encoding="utf-8")
    assert "the plan has expired" in play(project, "--check")[2]
    variables.write_text(text, encoding="utf-8")

    assert play(project)[0] == 0
    tree.write(CONFIG, '{"icc": true}')
    rc, changed, said = play(project)
    assert (rc, changed) == (2, 0)
    assert "the plan was applied already, by run" in said
    assert tree.read(CONFIG) == '{"icc": true}'


@pytest.mark.parametrize("make", ["file", "full"])
def test_a_project_is_not_written_over_something(emitted: Emitted, tmp_path: Path, make: str) -> None:
    """--emit wants a new or empty directory."""
    folder = tmp_path / "project"
    if make == "file":
        folder.write_text("", encoding="utf-8")
    else:
        folder.mkdir()
        (folder / "mine").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="not empty"):
        playbook.emit(emitted.plan, folder)
    new = tmp_path / "new"
    new.mkdir()
    assert playbook.emit(emitted.plan, new)


# --- marking ----------------------------------------------------------------------------------------


def _plain_loader() -> type[yaml.SafeLoader]:
    """A loader that leaves out what is marked unsafe."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!unsafe", lambda _loader, _node: None)
    return Loader


def _full_loader() -> type[yaml.SafeLoader]:
    """A loader that takes what is marked unsafe as the text it is."""

    class Loader(yaml.SafeLoader):
        pass

    def text(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
        return str(loader.construct_scalar(node))

    Loader.add_constructor("!unsafe", text)
    return Loader


def _texts(document: Any) -> list[str]:
    """All texts of a document."""
    if isinstance(document, dict):
        return [text for one in document.values() for text in _texts(one)]
    if isinstance(document, list):
        return [text for one in document for text in _texts(one)]
    return [document] if isinstance(document, str) else []


braces = st.builds("".join, st.lists(st.one_of(st.sampled_from(["{{", "}}", "{%", "%}", "{#", "'", '"', "\n"]), texts)))


@given(st.dictionaries(st.sampled_from("abc"), st.one_of(braces, documents)))
@example({"a": "\x85", "b": "\u2028{", "c": "\ufeff{\x7f"})
def test_marked_documents_are_the_documents(document: dict[str, Any]) -> None:
    """Marking changes no text, and leaves no text with a brace unmarked."""
    text = playbook.unsafe_yaml(document)
    assert document == yaml.load(text, Loader=_full_loader())  # noqa: S506 - made of the safe loader
    plain = yaml.load(text, Loader=_plain_loader())  # noqa: S506 - made of the safe loader
    assert [one for one in _texts(plain) if "{" in one] == []


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ({"Memory": 67108864, "MemorySwap": 134217728}, ["--memory=67108864", "--memory-swap=134217728"]),
        ({"PidsLimit": -1, "CpuShares": 512}, ["--pids-limit=-1", "--cpu-shares=512"]),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}}, ["--restart=on-failure:5"]),
        ({"RestartPolicy": {"Name": "", "MaximumRetryCount": 0}}, ["--restart=no"]),
    ],
)
def test_updates_are_argument_lists(values: dict[str, Any], options: list[str]) -> None:
    """Each value is one word, and no name of a container is among the options."""
    assert options == playbook.options(LiveUpdate(("; rm -rf /",), values))


def test_edits_are_told_apart_by_number(emitted: Emitted) -> None:
    """Files of the same name do not overwrite each other in the project."""
    edits = [one for one in emitted.plan.hosts[0].steps.files if isinstance(one, FileEdit)]
    names = [playbook.source("localhost", index, one.path) for index, one in enumerate(edits)]
    assert len(edits) == len(set(names))
