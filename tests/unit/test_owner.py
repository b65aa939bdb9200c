"""Who creates a container: labels are claims, and a claim that its name does not bear out is none."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from remediator import kinds
from remediator.audit import audit
from remediator.collect import owners
from remediator.model import HostState, Outcome, Owner
from tests.unit.host import Tree, baseline, engine, evidence, inspect

SECRET: Final = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be
SHOP: Final = "services:\n  db:\n    image: db\n  web:\n    image: app:1\n    environment: {A: hunter2-hunter2}\n"
UNIT: Final = "[Service]\nExecStart=/usr/bin/docker run --rm %s app:1\n"


def labels(project: str = "shop", service: str = "web", directory: str = "/srv/shop", **more: str) -> dict[str, str]:
    """The labels that compose gives a container."""
    given = {
        "project": project,
        "service": service,
        "project.working_dir": directory,
        "project.config_files": f"{directory}/compose.yaml",
        "container-number": "1",
        **{key.replace("_", ".", 1): value for key, value in more.items()},
    }
    return {f"com.docker.compose.{key}": value for key, value in given.items()}


def owner(tree: Tree, name: str, **more: Any) -> Owner:
    """The owner of the one container of a tree's recorded engine."""
    tree.record(inspect(name, **more))
    state = tree.state()
    assert SECRET not in msgspec.json.encode(state).decode()
    return Owner(**state.facts["container"][name].evidence["owner"])


@pytest.fixture
def tree(tmp_path: Any) -> Tree:
    """A host with a compose project."""
    made = Tree(tmp_path)
    made.write("/srv/shop/compose.yaml", SHOP)
    return made


@pytest.mark.parametrize(("name", "number"), [("shop-web-1", "1"), ("shop_web_1", "1"), ("shop-web-12", "12")])
def test_compose_owns_what_is_named_as_it_names(tree: Tree, name: str, number: str) -> None:
    """Both generations of compose, and services of many containers; the line is that of the service."""
    found = owner(tree, name, labels={**labels(), "com.docker.compose.container-number": number})
    assert found == Owner("compose", "shop/web", "/srv/shop/compose.yaml:4")


def test_compose_owns_what_its_file_names(tree: Tree) -> None:
    """A service may say its container's name."""
    assert owner(tree, "front", labels=labels()).kind == "unknown"
    tree.write("/srv/shop/compose.yaml", SHOP + "    container_name: front\n")
    assert owner(tree, "front", labels=labels()).name == "shop/web"


def test_labels_of_an_image_make_no_owner(tree: Tree) -> None:
    """Whoever builds an image can put any labels on it, but not choose the container's name."""
    found = owner(tree, "innocent", labels=labels())
    assert (found.kind, "its name is none that compose gives" in found.where) == ("unknown", True)
    swarm = {"com.docker.swarm.service.name": "x", "com.docker.swarm.task.name": "x.1.abc"}
    assert owner(tree, "innocent", labels=swarm).kind == "unknown"
    assert owner(tree, "innocent", labels={"io.kubernetes.pod.name": "x"}).kind == "unknown"


def test_tasks_and_pods_have_owners(tree: Tree) -> None:
    """Swarm and Kubernetes name their containers themselves."""
    task = "com.docker.swarm."
    given = {task + "service.name": "shop", task + "service.id": "abc", task + "task.name": "shop.1.xyz"}
    assert owner(tree, "shop.1.xyz", labels=given) == Owner("swarm", "shop", "abc")
    pod = {"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "prod", "io.kubernetes.pod.uid": "u"}
    assert owner(tree, "k8s_web_web_prod_u_0", labels=pod) == Owner("kubernetes", "prod/web", "u")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("--name web", "web"),
        ("--name=web", "web"),
        ("-d --name %%n", "web.service"),
        ("\\\n  --name \\\n  'web'", "web"),
        ("-it -p 80:80 --name %%N", "web"),
    ],
)
def test_a_unit_owns_the_container_that_it_names(tree: Tree, line: str, name: str) -> None:
    """Specifiers, quotes and continued lines are read as systemd reads them."""
    tree.write("/etc/systemd/system/web.service", UNIT % line.replace("%%", "%"))
    assert owner(tree, name) == Owner("systemd", "web.service", "/etc/systemd/system/web.service:2")


@pytest.mark.parametrize(
    "line", ["--name other", "--name $NAME", "--name web --no-such-option x", "$OPTIONS --name web"]
)
def test_a_unit_that_cannot_be_read_owns_nothing(tree: Tree, line: str) -> None:
    """A guess about a command line is none."""
    tree.write("/etc/systemd/system/web.service", UNIT % line)
    assert owner(tree, "web").kind == "unknown"


def test_a_drop_in_takes_the_place_of_the_units_command_line(tree: Tree) -> None:
    """What is in effect counts, with the line of the file that has it."""
    tree.write("/etc/systemd/system/web.service", UNIT % "--name old")
    tree.write("/etc/systemd/system/web.service.d/10-x.conf", "[Service]\nExecStart=\n" + UNIT[10:] % "--name web")
    assert owner(tree, "web").where == "/etc/systemd/system/web.service.d/10-x.conf:3"
    assert owner(tree, "old").kind == "unknown"


def test_every_finding_of_a_container_says_its_owner(tree: Tree) -> None:
    """Those that pass as well."""
    tree.record(inspect("shop-web-1", {"Privileged": False}, labels=labels()))
    controls = baseline("container-privileged", "container-memory", "container-no-new-privileges")
    findings = audit(tree.state(), controls)
    assert {one.outcome for one in findings} == {Outcome.PASS, Outcome.FAIL}
    assert {one.owner and one.owner.name for one in findings} == {"shop/web"}


# --- hostile labels ---------------------------------------------------------------------------------


def sources(tree: Tree, **more: str) -> HostState:
    """The state of a tree with one container whose labels claim something."""
    tree.record(inspect("shop-web-1", labels=labels(**more)))
    return tree.state()


@pytest.mark.parametrize(
    "files",
    [
        "/etc/shadow",
        "/srv/shop/../../etc/shadow.yaml",
        "../compose.yaml",
        "/srv/shop/compose.yaml\n/etc/shadow",
        "/srv/shop/\x00.yaml",
        "",
        ",".join(f"/x{number}.yaml" for number in range(60)),
    ],
)
def test_what_is_no_plain_path_is_not_read(tree: Tree, files: str) -> None:
    """The finding says why its file is not followed, and nothing was read."""
    tree.write("/etc/shadow", SECRET)
    tree.write("/etc/shadow.yaml", SECRET)
    state = sources(tree, project_config_files=files)
    assert SECRET not in msgspec.json.encode(state).decode()
    assert [one for one in state.facts["source"] if "shadow" in one] == []
    assert state.facts["container"]["shop-web-1"].evidence["source"]["error"].startswith(("its labels", "/", ".."))


@pytest.mark.parametrize("content", [f"root:{SECRET}:1\n", f"- {SECRET}\n", f"x: {SECRET}\nother:\n  services: 1\n"])
def test_what_is_no_compose_file_does_not_leave_the_host(tree: Tree, content: str) -> None:
    """A file may be named like one and hold anything."""
    tree.write("/srv/shop/compose.yaml", content)
    state = sources(tree)
    assert SECRET not in msgspec.json.encode(state).decode()
    assert state.facts["source"]["/srv/shop/compose.yaml"].evidence["file"]["error"] == "defines no services"


def test_a_link_to_something_else_is_not_read(tree: Tree) -> None:
    """Neither by the file itself, nor by what it includes."""
    tree.write("/etc/secret", f"services:\n  x: {SECRET}\n")
    tree.path("/srv/shop/compose.yaml").unlink()
    tree.path("/srv/shop/compose.yaml").symlink_to("/etc/secret")
    assert SECRET not in msgspec.json.encode(sources(tree)).decode()
    tree.path("/srv/shop/compose.yaml").unlink()
    tree.write("/srv/shop/compose.yaml", "include:\n  - ../../etc/secret\n  - more.yaml\nservices: {}\n")
    tree.path("/srv/shop/more.yaml").symlink_to("/etc/secret")
    assert SECRET not in msgspec.json.encode(sources(tree)).decode()


def test_large_files_and_loops_end(tree: Tree) -> None:
    """Files that include each other are read once, and a huge one not at all."""
    tree.write("/srv/shop/compose.yaml", "include: [a.yaml]\nservices:\n  web:\n    image: x\n")
    tree.write("/srv/shop/a.yaml", "include:\n  - compose.yaml\n  - big.yaml\nservices: {}\n")
    tree.write("/srv/shop/big.yaml", "services:\n" + "# x\n" * 400_000)
    found = sources(tree).facts["source"]
    assert set(found) == {f"/srv/shop/{name}.yaml" for name in ("compose", "a", "big")}
    assert "not read" in found["/srv/shop/big.yaml"].evidence["file"]["error"]


def test_of_env_files_there_are_names(tree: Tree) -> None:
    """Their values stay on the host."""
    tree.write("/srv/shop/.env", f"# X=1\nTAG={SECRET}\nexport OTHER='{SECRET}'\nbroken\n")
    state = sources(tree)
    assert SECRET not in msgspec.json.encode(state).decode()
    assert state.facts["container"]["shop-web-1"].evidence["source"]["variables"] == {
        "/srv/shop/.env": ["TAG", "OTHER"]
    }


def test_evidence_without_owners_is_of_unknown_hands() -> None:
    """What was collected without them is judged all the same."""
    given = evidence(found=engine(inspect("db")))
    assert kinds.state(given).facts["source"] == {}
    assert kinds.state(given).facts["container"]["db"].evidence["owner"] == {}
    assert owners.claim({}) is None
