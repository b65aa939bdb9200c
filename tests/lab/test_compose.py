"""Patched compose files before docker compose itself, and the containers that it makes of them before the engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, Final

import pytest

from remediator import compose
from remediator.collect.containers import project_container
from remediator.compose.hits import KEYS
from remediator.compose.settings import canonical
from remediator.expect import same
from remediator.patch import get
from tests.compose.corpus import Case, cases, changes, differences, patched
from tests.lab.host import Host
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab

# What compose itself refuses before any patch, or would fetch.
NOT_FOR_COMPOSE: Final = frozenset(
    {"a-remote-include-is-left-alone", "extends-a-file-that-is-not-there", "a-variable-that-is-not-set", "nulls"}
)
FOLDER: Final = "/srv/project"
PROJECT: Final = f"""\
x-hard: &hard
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
services:
  plain:
    image: busybox:local
  all:
    image: busybox:local
    command: sleep 600
    cap_add: [NET_ADMIN, CAP_SYS_PTRACE]
    cap_drop: [MKNOD]
    pid: host
    ipc: shareable
    uts: host
    userns_mode: host
    read_only: true
    tmpfs:
      - /run
      - /tmp:size=1m
    security_opt: [seccomp:unconfined]
    ulimits:
      nofile: 1024
      nproc: {{soft: 100, hard: 200}}
    devices:
      - /dev/null:/dev/zero2:r
    volumes:
      - {FOLDER}/data:/data:ro,rslave
      - ./relative:/relative
      - named:/named
      - type: bind
        source: /var/run
        target: /host/run
        read_only: true
    ports:
      - 8080:80
      - 127.0.0.1:9000-9001:9000-9001/udp
      - target: 443
        published: "8443"
        host_ip: 127.0.0.1
    restart: on-failure:3
    mem_limit: 64m
    memswap_limit: 128mb
    cpu_shares: 256
    pids_limit: 50
    user: "1000:1000"
    healthcheck:
      test: [CMD, "true"]
  deployed:
    <<: *hard
    image: busybox:local
    deploy:
      resources:
        limits: {{memory: 32M, pids: 20}}
      restart_policy: {{condition: any}}
  alone:
    <<: *hard
    image: busybox:local
    network_mode: none
    privileged: false
    restart: always
    healthcheck: {{disable: true}}
volumes:
  named: {{}}
"""
COMPARED: Final = [one for one in KEYS if one not in ("/HostConfig/Tmpfs", "/HostConfig/NetworkMode")]


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Host]:
    """A server with docker compose."""
    with_compose = lab.host("", "28.5")
    with_compose.wait_ready()
    yield with_compose
    with_compose.kill()


def config(host: Host, folder: str, case: Case, texts: dict[str, str]) -> Any:
    """What docker compose makes of a project: its normalised model, or what it says is wrong."""
    for path, text in texts.items():
        target = PurePosixPath(folder, path)
        (host.root / str(target.parent).lstrip("/")).mkdir(parents=True, exist_ok=True)
        (host.root / str(target).lstrip("/")).write_bytes(text.encode())
    files = [word for one in case.config or [next(iter(case.files))] for word in ("--file", f"{folder}/{one}")]
    variables = [f"{name}={value}" for name, value in case.variables.items()]
    options = ["--profile", "*", *files, "config", "--format", "json", "--no-path-resolution"]
    done = host.run(["env", "-C", folder, *variables, "docker", "compose", *options], check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_compose_accepts_what_was_patched(host: Host) -> None:
    """Every patched project is one, and compose's own model differs in what was asked for alone."""
    chosen = [one for one in cases() if one.name not in NOT_FOR_COMPOSE]

    def models(case: Case) -> tuple[Any, Any]:
        texts = {"before": case.texts, "after": dict(patched(case)[0].texts)}
        before, after = (config(host, f"/srv/{one}/{case.name}/project", case, some) for one, some in texts.items())
        return before, after

    with ThreadPoolExecutor(4) as pool:
        made_of = list(pool.map(models, chosen))
    for case, (before, after) in zip(chosen, made_of, strict=True):
        _, refused = patched(case)
        assert isinstance(before, dict), (case.name, before)
        assert isinstance(after, dict), (case.name, after)
        made = {
            service: {one: value for one, value in wanted.items() if one not in refused.get(service, {})}
            for service, wanted in case.patch.items()
        }
        keys = {
            f"services.{service}.{keys[0]}" for service, wanted in made.items() for one in wanted for keys in KEYS[one]
        }
        for path in differences(before["services"], after["services"], "services"):
            assert any(path == one or path.startswith(f"{one}.") for one in keys), (case.name, path)
        seen = compose.load({"c.json": json.dumps(after, ensure_ascii=False)}, ["c.json"], "/", {})
        for service, wanted in made.items():
            document, _ = compose.document(seen, service)
            for pointer, value in wanted.items():
                if pointer not in ("/HostConfig/NetworkMode", "/Mounts", "/HostConfig/Tmpfs"):
                    found = canonical(pointer, get(document, pointer))
                    assert same(canonical(pointer, value), found), (case.name, service, pointer, found)


def containers(host: Host) -> dict[str, Any]:
    """The documents of a project's containers, by service."""
    listed = host.docker("ps", "--all", "--quiet", "--filter", "label=com.docker.compose.service").stdout.split()
    found = {}
    for one in json.loads(host.docker("inspect", *listed).stdout):
        found[one["Config"]["Labels"]["com.docker.compose.service"]] = project_container(one)["document"]
    return found


def comparable(pointer: str, value: Any) -> Any:
    """A value without what the engine adds for itself."""
    if pointer == "/Mounts":
        kept = [{**one, "Propagation": ""} if one["Type"] == "volume" else one for one in value]
        return [{**one, "Source": ""} if one["Type"] == "volume" else one for one in kept]
    if pointer == "/HostConfig/SecurityOpt":  # that of containers in the host's namespaces
        return canonical(pointer, [one for one in value if one != "label=disable"])
    if pointer == "/HostConfig/Ulimits":
        return sorted(value, key=lambda one: str(one["Name"]))
    return canonical(pointer, value)


@pytest.fixture
def created(host: Host) -> Iterator[Host]:
    """The project's containers, not started."""
    host.load_image()
    host.write(f"{FOLDER}/compose.yml", PROJECT)
    host.run(["mkdir", "-p", f"{FOLDER}/data", f"{FOLDER}/relative"])
    yield host
    host.run(["docker", "compose", "--file", f"{FOLDER}/compose.yml", "down", "--volumes"], check=False)


def create(host: Host) -> None:
    done: subprocess.CompletedProcess[str] = host.run(
        ["docker", "compose", "--file", f"{FOLDER}/compose.yml", "create", "--force-recreate"], check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_file_tells_what_the_engine_tells_of_its_containers(created: Host) -> None:
    """The document of each service is that of the container that compose makes of it, before a patch and after."""
    path = f"{FOLDER}/compose.yml"
    project = compose.load({path: PROJECT}, [path], FOLDER, {})
    wanted: dict[str, dict[str, Any]] = {
        "plain": {
            "/HostConfig/ReadonlyRootfs": True,
            "/HostConfig/Memory": 2**26,
            "/HostConfig/MemorySwap": 2**27,
            "/HostConfig/PidsLimit": 30,
            "/HostConfig/SecurityOpt": ["no-new-privileges"],
            "/HostConfig/Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 64}],
        },
        "all": {
            "/HostConfig/CapAdd": [],
            "/HostConfig/PidMode": "",
            "/HostConfig/UTSMode": "",
            "/HostConfig/IpcMode": "private",
            "/HostConfig/UsernsMode": "",
            "/HostConfig/Devices": [],
            "/HostConfig/RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
        },
        "deployed": {
            "/HostConfig/Memory": 2**27,
            "/HostConfig/PidsLimit": 40,
            "/HostConfig/CapDrop": [],
            "/HostConfig/RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5},
        },
        "alone": {"/HostConfig/RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}},
    }
    for patch in (False, True):
        if patch:
            for service, some in wanted.items():
                made = compose.patch(project, service, changes(project, service, some))
                assert made.refused == ()
                project = made.project
            created.write(path, project.texts[path])
        create(created)
        found = containers(created)
        assert found.keys() == project.services.keys()
        for service, real in found.items():
            document, unknown = compose.document(project, service)
            for pointer in COMPARED:
                if pointer == "/HostConfig/MemorySwap" and not get(document, pointer):
                    continue  # the engine makes it twice the memory
                if pointer not in unknown:
                    told, seen = (comparable(pointer, get(one, pointer)) for one in (document, real))
                    assert same(told, seen), (patch, service, pointer, told, seen)
            if patch:
                for pointer, value in wanted.get(service, {}).items():
                    assert same(comparable(pointer, value), comparable(pointer, get(real, pointer))), (service, pointer)
