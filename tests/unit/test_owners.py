"""Routing: what each owner is asked to change, what is live alone, and what is held with the reason."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from remediator import kinds
from remediator.collect import containers
from remediator.edited import join
from remediator.model import Disruption, HostState, Safety
from remediator.plan import playbook
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import make, plan_host
from tests.unit.host import MIB, baseline, engine, evidence, file, inspect
from tests.unit.test_owner import labels
from tests.unit.test_plan import NOW

COMPOSE: Final = "/srv/shop/compose.yaml"
SHOP: Final = """services:
  web:
    image: app:1
    privileged: true   # why?
  db:
    image: db:1
    privileged: true
"""
LIVE: Final = {"memory": MIB, "memory_peak": 4 * MIB, "pids": 3, "no_new_privileges": False}
PRIVILEGED: Final = {"Privileged": True}
RECREATE: Final = Policy(Safety.UNSAFE, Disruption.RECREATE)


def claim(service: str, **more: Any) -> dict[str, Any]:
    """What the probe makes of a container's labels."""
    from remediator.collect import owners

    found = owners.claim(labels(service=service))
    assert found is not None
    return {**found, "variables": {}, **more}


def host(
    *inspects: dict[str, Any],
    compose: Mapping[str, Any] | None = None,
    files: Mapping[str, Any] | None = None,
    units: Mapping[str, Any] | None = None,
    command: tuple[str, ...] = ("docker", "compose"),
    found: Mapping[str, Any] | None = None,
    info: Mapping[str, Any] | None = None,
) -> HostState:
    """A host that runs these containers, and what the probe saw of their owners."""
    running = found or engine(*inspects, info=info, live={str(one["Name"])[1:]: LIVE for one in inspects})
    given = evidence(found=running, root="/")
    around = {"compose": compose or {}, "units": units or {}, "files": files or {}, "command": list(command)}
    return kinds.state({**given, "owners": around})


def shop(text: str = SHOP, **more: Any) -> HostState:
    """A host with the compose project shop."""
    some = [inspect(f"shop-{one}-1", PRIVILEGED, labels=labels(service=one)) for one in ("web", "db")]
    claimed = more.pop("claim", {})
    claims = {f"shop-{one}-1": claim(one, **claimed) for one in ("web", "db")}
    return host(*some, compose=claims, **{"files": {COMPOSE: file(text)}, **more})


def planned(state: HostState, *controls: str, policy: Policy = RECREATE) -> HostPlan:
    """The plan of controls on a host."""
    return plan_host(state, baseline(*(controls or ("container-privileged",))), policy)


def reasons(plan: HostPlan) -> set[str]:
    """Why findings are held."""
    return {one.reason for one in plan.held}


# --- compose ----------------------------------------------------------------------------------------


def test_services_of_one_file_make_one_edit() -> None:
    """And a step each, which says the project as its labels do."""
    plan = planned(shop())
    (edit,) = plan.steps.files
    assert edit.content == SHOP.replace("true", "false")
    assert [(one.name, one.files) for one in plan.steps.recreates] == [
        ("shop/db", (COMPOSE,)),
        ("shop/web", (COMPOSE,)),
    ]
    assert plan.preimages["container"].keys() == {"shop-web-1", "shop-db-1"}


def test_a_live_change_is_written_into_the_file_without_creating_anew() -> None:
    """The running container is right now, and the file makes it last; nothing more is interrupted."""
    plan = planned(shop(), "container-pids", policy=Policy(Safety.UNSAFE, Disruption.NONE))
    assert [one.values for one in plan.steps.updates] == [{"PidsLimit": 128}]
    assert plan.steps.files[0].content.count("pids_limit: 128") == 2
    assert (plan.steps.recreates, plan.held) == ((), ())
    assert [(one.name, one.words[-2:]) for one in plan.steps.checks] == [("compose shop", ("config", "-q"))]


def test_what_needs_a_new_container_is_held_below_recreate() -> None:
    """Neither the file nor the container is touched then."""
    plan = planned(shop(), policy=Policy(Safety.UNSAFE, Disruption.RESTART))
    assert (reasons(plan), bool(plan.steps)) == ({"needs --max-disruption recreate"}, False)


def test_masked_files_are_edited_around_their_secrets() -> None:
    """An edit by slices, and its way back."""
    real = SHOP.replace("    image: db:1", "    environment: {A: hunter2}\n    image: db:1")
    masked = file(real.replace("A: hunter2", "••••••••••"), masked=True)
    (edit,) = planned(shop(files={COMPOSE: masked})).steps.files
    assert join(list(edit.pieces), real) == real.replace("true", "false")
    assert join(list(edit.inverse), real.replace("true", "false")) == real


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"files": {}}, f"{COMPOSE}: is absent"),
        ({"files": {COMPOSE: {"type": "file", "error": "permission denied"}}}, f"{COMPOSE}: permission denied"),
        ({"files": {COMPOSE: file(SHOP, type="link", target="/x")}}, f"{COMPOSE}: a link to /x: change it there"),
        ({"text": "services:\n  other:\n    image: x\n"}, f"{COMPOSE}: defines no service"),
        ({"text": "services: [\n"}, f"{COMPOSE}:"),
        ({"claim": {"error": "its labels name no compose file"}}, "compose project shop: its labels name no"),
        ({"command": ()}, "there is no docker compose on this host"),
        ({"text": SHOP.replace("privileged: true", "privileged: ${P}")}, ""),
    ],
)
def test_what_cannot_be_changed_is_held_and_live_changes_are_told_to_be_lost(more: Any, reason: str) -> None:
    """Whatever is wrong with the file, the reason names it; what docker update does is done."""
    plan = planned(shop(**more), "container-privileged", "container-pids")
    assert len(plan.held) == 2
    assert all(one.reason.startswith(reason) for one in plan.held)
    assert plan.steps.recreates == ()
    assert [one.names for one in plan.steps.updates] == [("shop-db-1", "shop-web-1")]
    assert bool(plan.steps.files) != any("lost when it is created anew" in one for one in plan.notes)


def test_a_job_that_has_ended_is_not_run_again() -> None:
    """Its container is created anew, and not started."""
    one = inspect("shop-web-1", PRIVILEGED, labels=labels(), running=False)
    plan = planned(host(one, compose={"shop-web-1": claim("web")}, files={COMPOSE: file(SHOP)}))
    (step,) = plan.steps.recreates
    assert (step.up[0][-4:], step.grace) == (("up", "--no-start", "--no-deps", "web"), 0)


@pytest.mark.parametrize("value", ["${P}", "${P:-true}"])
def test_a_value_that_a_variable_decides_is_not_guessed(value: str) -> None:
    """Of .env files the names are known, and nothing is put in the place of what they set."""
    state = shop(SHOP.replace("true", value), claim={"variables": {"/srv/shop/.env": ["P"]}})
    plan = planned(state)
    assert plan.steps.files == ()
    assert all("variable" in one or "comes from ${P}" in one for one in reasons(plan))
    assert "•" not in "".join(reasons(plan))


def test_one_offs_are_not_created_anew() -> None:
    """What `docker compose run` made ends by itself."""
    given = {**labels(), "com.docker.compose.oneoff": "True"}
    state = host(
        inspect("shop-web-run-1234", PRIVILEGED, labels=given),
        compose={"shop-web-run-1234": claim("web")},
        files={COMPOSE: file(SHOP)},
    )
    assert {one.split(":")[0] for one in reasons(planned(state))} == {"a one-off container of `docker compose run`"}


def test_a_network_of_the_project_takes_the_place_of_docker0() -> None:
    """Also where the project goes by another name than its directory."""
    given = [inspect("prod-web-1", {"NetworkMode": "bridge"}, labels=labels("prod"))]
    text = "services:\n  web:\n    image: app:1\n    network_mode: bridge\n"
    state = host(*given, compose={"prod-web-1": {**claim("web"), "project": "prod"}}, files={COMPOSE: file(text)})
    plan = planned(state, "container-default-bridge")
    assert [one.after for one in plan.changes] == ["prod_default"]
    assert plan.steps.files[0].content == "services:\n  web:\n    image: app:1\n"


@pytest.mark.parametrize(
    ("image", "digests", "after"),
    [
        ("nginx", ["nginx@sha256:" + 64 * "a"], "nginx@sha256:" + 64 * "a"),
        (
            "docker.io/library/nginx:latest",
            ["nginx@sha256:" + 64 * "a"],
            "docker.io/library/nginx:latest@sha256:" + 64 * "a",
        ),
        ("reg:5000/a/b", ["x@sha256:1", "reg:5000/a/b@sha256:" + 64 * "b"], "reg:5000/a/b@sha256:" + 64 * "b"),
        ("nginx", [], ""),
        ("nginx", ["evil/nginx@sha256:" + 64 * "a"], ""),
    ],
)
def test_images_are_pinned_to_what_runs(image: str, digests: list[str], after: str) -> None:
    """By the digest that its registry gave it; one that was built here has none."""
    one = inspect("shop-web-1", labels=labels())
    one["Config"]["Image"], one["Image"] = image, "sha256:1"
    found = containers.gather({"ServerVersion": "28.5.2"}, {}, [one], [{"Id": "sha256:1", "RepoDigests": digests}])
    text = f"services:\n  web:\n    image: {image}\n"
    state = host(found=found, compose={"shop-web-1": claim("web")}, files={COMPOSE: file(text)})
    plan = planned(state, "container-image-pinned")
    assert [one.after for one in plan.changes] == ([after] if after else [])
    if after:
        assert plan.steps.files[0].content == text.replace(image, after)
    else:
        assert "no digest from a registry" in plan.held[0].reason


def test_containers_of_one_service_get_one_limit() -> None:
    """The largest of those that their use asks for: one file says it for all of them."""
    names = ("shop-web-1", "shop-web-2")
    some = [inspect(one, labels={**labels(), "com.docker.compose.container-number": one[-1]}) for one in names]
    found = engine(*some, live={names[0]: LIVE, names[1]: {**LIVE, "memory_peak": 100 * MIB}})
    state = host(found=found, compose={one: claim("web") for one in names}, files={COMPOSE: file(SHOP)})
    plan = planned(state, "container-memory")
    assert [(one.names, one.values["Memory"]) for one in plan.steps.updates] == [(names, 224 * MIB)]
    assert "mem_limit: 224m" in plan.steps.files[0].content


# --- others -----------------------------------------------------------------------------------------


def test_kubernetes_is_left_alone() -> None:
    """Also by docker update: the kubelet would undo it."""
    given = {"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "prod"}
    plan = planned(host(inspect("k8s_web_1", PRIVILEGED, labels=given)), "container-privileged", "container-pids")
    assert reasons(plan) == {"Kubernetes made it: change the pod prod/web where it is defined"}
    assert not plan.steps


def task(slot: int) -> dict[str, Any]:
    """A task of the service shop."""
    name = f"shop.{slot}.abc"
    given = {"service.name": "shop", "service.id": "id1", "task.name": name}
    return inspect(name, {"CapAdd": ["CAP_NET_ADMIN"]}, labels={f"com.docker.swarm.{k}": v for k, v in given.items()})


def test_a_service_is_updated_once_for_all_its_tasks() -> None:
    """On a manager; a worker says where to go."""
    controls = ("container-capabilities", "container-memory", "container-no-new-privileges")
    manager = {"Swarm": {"LocalNodeState": "active", "ControlAvailable": True}}
    plan = planned(host(task(1), task(2), info=manager), *controls)
    (step,) = plan.steps.recreates
    assert step.up == (
        (
            "docker",
            "service",
            "update",
            "--detach=false",
            "--cap-drop=CAP_NET_ADMIN",
            f"--limit-memory={64 * MIB}",
            "id1",
        ),
    )
    assert step.undo == (("docker", "service", "rollback", "--detach=false", "id1"),)
    assert (step.containers, plan.steps.updates) == (("shop.1.abc", "shop.2.abc"), ())
    assert reasons(plan) == {"`docker service update` has no option for /HostConfig/SecurityOpt"}
    assert reasons(planned(host(task(1)), *controls)) == {"a task of the swarm service shop: plan on a manager"}


def test_a_unit_that_runs_two_containers_is_changed_for_one_at_a_time() -> None:
    """The second is told to wait."""
    path, drop_in = "/etc/systemd/system/two.service", "/etc/systemd/system/two.service.d/50-remediator.conf"
    run = "/usr/bin/docker run --rm -d --privileged --name"
    text = f"[Service]\nType=oneshot\nExecStart={run} a app\nExecStart={run} b app\n"
    units = {"two.service": {"paths": [path], "drop_in": drop_in, "active": True}}
    state = host(inspect("a", PRIVILEGED), inspect("b", PRIVILEGED), units=units, files={path: file(text)})
    plan = planned(state)
    assert [one.containers for one in plan.steps.recreates] == [("a",)]
    assert plan.steps.files[0].content.endswith(
        "ExecStart=\nExecStart=/usr/bin/docker run --rm -d --name a app\n"
        "ExecStart=/usr/bin/docker run --rm -d --privileged --name b app\n"
    )
    assert reasons(plan) == {"its unit runs a as well: plan again after that one"}


# --- what is emitted --------------------------------------------------------------------------------


def test_recreates_are_data_of_the_playbook() -> None:
    """Argument lists, names of containers and files, as they are run on the host."""
    variables = playbook.variables(planned(shop()), "localhost")
    (first, _) = variables["recreates"]
    words = ["docker", "compose", "-p", "shop", "--project-directory", "/srv/shop", "-f", COMPOSE]
    assert first == {
        "label": "compose shop/db",
        "owner": "compose",
        "containers": ["shop-db-1"],
        "up": [[*words, "up", "-d", "--no-deps", "db"]],
        "undo": [[*words, "up", "-d", "--no-deps", "db"]],
        "files": [COMPOSE],
        "grace": 30,
    }
    assert variables["checks"] == [{"label": "compose shop", "words": [*words, "config", "-q"], "files": [COMPOSE]}]


def orphan(name: str = "old", **config: Any) -> HostState:
    """A container that nobody owns, with all the engine says of it."""
    one = inspect(name, {**PRIVILEGED, "Binds": ["/d:/d:ro"], "Sysctls": {"a.b": "1"}, "Weird": "x"}, running=False)
    one["Config"].update(config)
    one["Image"] = "sha256:1"
    image = {"Id": "sha256:1", "Config": {"Env": ["PATH=/bin"]}}
    return host(found=containers.gather({"ServerVersion": "28.5.2"}, {}, [one], [image]))


def test_a_proposal_is_emitted_for_a_person(tmp_path: Path) -> None:
    """A script that is not executable, with names of variables alone, and what it does not know said."""
    env = ["PATH=/bin", "PASSWORD=hunter2"]
    state = orphan(Env=env, Cmd=["serve", "--token=hunter2", "--api-key", "hunter2"], Labels={"x": "hunter2"})
    plan = make([state], baseline("container-privileged"), RECREATE, NOW)
    playbook.emit(plan, tmp_path / "out")
    path = tmp_path / "out" / "proposals" / "old.sh"
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in text
    for words in (
        "--env=PASSWORD",
        "--volume=/d:/d:ro",
        "--sysctl=a.b=1",
        "# Also set, and not written down here: Weird",
    ):
        assert words in text
    assert ("--privileged" in text, "--env=PATH" in text) == (False, False)
    assert "fill in what is masked" in text


@pytest.mark.parametrize(
    "word", ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", "a\ntouch pwned\n", "-x", "\\"]
)
def test_hostile_words_are_harmless_in_a_proposal(tmp_path: Path, word: str) -> None:
    """Whatever a container's names and arguments hold, the shell takes them as words."""
    state = orphan(Cmd=[word], User=word, Env=[f"{word}=1"], Labels={word: "1"}, Hostname=word, WorkingDir=word)
    text = planned(state).proposals["old"]
    (tmp_path / "docker").write_text('#!/bin/sh\nfor one; do printf "%s\\0" "$one"; done >> ' + f"{tmp_path}/said\n")
    (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", text],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "pwned").exists()
    said = (tmp_path / "said").read_text().split("\0")
    assert {word, f"--user={word}", f"--env={word}", f"--workdir={word}"} <= set(said)
    assert shlex.quote(word) in text
