"""Record the engine of the example host: containers are run by a real dockerd of their own, then inspected.

    sudo .venv/bin/python -m examples.record

writes examples/host/engine.json. Environment variables and what belongs to the machine that records stay
out; names of images, addresses, times, use of memory and the host's size are the example's own.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.engine.private import IMAGE, PrivateEngine, unavailable_reason

HOST = Path(__file__).with_name("host")
MEMORY = 16 * 2**30
API = "registry.example.com/shop/api:latest"
SOCKET = ("--volume", "/var/run/docker.sock:/var/run/docker.sock")
ALWAYS = ("--restart", "always")

# name, image, options, (MiB in use, MiB at the peak, tasks)
CONTAINERS: tuple[tuple[str, str, tuple[str, ...], tuple[int, int, int]], ...] = (
    (
        "postgres",
        "postgres:16",
        ("--restart=unless-stopped", "--publish=5432:5432", "--volume=/srv/postgres:/var/lib/postgresql/data",
         "--shm-size=256m"),
        (412, 655, 23),
    ),
    ("redis", "redis:7-alpine", ("--network=shop", "--user=999", *ALWAYS), (38, 61, 6)),
    ("api", API, ("--network=shop", "--publish=8081:8080", *ALWAYS), (236, 301, 31)),
    ("worker", API, ("--network=shop", "--cap-add=SYS_ADMIN", "--ulimit=nofile=1048576"), (180, 344, 18)),
    ("web", "nginx:latest", ("--publish=8080:80", *ALWAYS), (14, 22, 5)),
    (
        "traefik",
        "traefik:v3.1",
        ("--network=shop", "--publish=80:80", "--publish=443:443", *SOCKET, "--restart=on-failure:20"),
        (71, 96, 12),
    ),
    (
        "node-exporter",
        "prom/node-exporter:v1.8.1",
        ("--network=host", "--pid=host", "--volume=/:/host:ro,rslave", "--user=65534", *ALWAYS),
        (17, 24, 7),
    ),
    (
        "portainer",
        "portainer/portainer-ce",
        ("--privileged", "--publish=9000:9000", *SOCKET, *ALWAYS),
        (33, 48, 9),
    ),
    ("backup", "restic/restic:0.16.4", ("--volume=/:/host:rshared", "--ipc=host"), (9, 702, 4)),
    ("legacy", "shop/legacy:2014", ("--link=postgres:db", *ALWAYS), (128, 131, 3)),
    (
        "ci-runner",
        "gitlab/gitlab-runner:latest",
        (*SOCKET, "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined", *ALWAYS),
        (57, 88, 14),
    ),
    ("mailhog", "mailhog/mailhog", ("--publish=1025:1025", "--publish=8025:8025"), (6, 8, 6)),
    (
        "cache",
        "registry.example.com/shop/cache:3.2.1",
        ("--network=shop", "--user=1000", "--read-only", "--memory=256m", "--memory-swap=512m", "--cpu-shares=512",
         "--pids-limit=128", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--restart=on-failure:5",
         "--health-cmd=true"),
        (52, 77, 8),
    ),
)  # fmt: skip
STOPPED = ("migrate", API, ("--network=shop",))


def started(index: int) -> str:
    """When a container was started: one after the other, after a boot."""
    return f"2026-05-04T06:12:{30 + index:02d}.000000000Z"


def container(inspect: dict[str, Any], index: int) -> dict[str, Any]:
    """An inspect document without environment, paths and process ids of the machine that recorded it."""
    name = inspect["Name"].lstrip("/")
    config = {
        key: inspect["Config"].get(key) for key in ("User", "ExposedPorts", "Cmd", "Healthcheck", "Image", "Volumes")
    }
    networks = {
        key: {"Aliases": one.get("Aliases"), "Links": one.get("Links")}
        for key, one in inspect["NetworkSettings"]["Networks"].items()
    }
    state = {key: inspect["State"][key] for key in ("Status", "Running", "OOMKilled", "ExitCode")}
    health = {"Health": {"Status": "healthy"}} if config["Healthcheck"] else {}
    host = {key: one for key, one in inspect["HostConfig"].items() if key != "ContainerIDFile"}
    host["LogConfig"] = {"Type": host["LogConfig"]["Type"]}  # the rest is a copy of log-opts, token and all
    return {
        "Id": hashlib.sha256(name.encode()).hexdigest(),
        "Name": inspect["Name"],
        "Created": started(index),
        "RestartCount": 0,
        "AppArmorProfile": inspect["AppArmorProfile"],
        "State": {**state, "Pid": 0, "StartedAt": started(index), **health},
        "Config": {**config, "Labels": {}},
        "HostConfig": host,
        "Mounts": inspect["Mounts"],
        "NetworkSettings": {"Networks": networks},
    }


def information(info: dict[str, Any]) -> dict[str, Any]:
    """What the engine says of itself, without the machine under it."""
    names = (
        "ServerVersion", "Driver", "LoggingDriver", "CgroupDriver", "CgroupVersion", "SecurityOptions", "Plugins",
        "LiveRestoreEnabled", "ExperimentalBuild", "Debug", "DockerRootDir", "DefaultRuntime", "Runtimes",
        "RegistryConfig", "Swarm", "Images", "Containers", "ContainersRunning", "ContainersStopped", "SwapLimit",
        "MemoryLimit", "PidsLimit", "CPUShares", "CPUSet", "IPv4Forwarding",
    )  # fmt: skip
    kept = {key: info[key] for key in names if key in info}
    kept["Swarm"] = {key: info["Swarm"][key] for key in ("LocalNodeState", "ControlAvailable")}
    registries = info["RegistryConfig"]
    kept["RegistryConfig"] = {
        "InsecureRegistryCIDRs": registries["InsecureRegistryCIDRs"],
        "IndexConfigs": {name: one for name, one in registries["IndexConfigs"].items() if not one["Official"]},
    }
    kept["Runtimes"] = {name: {"path": one["path"]} for name, one in info["Runtimes"].items()}
    return {**kept, "MemTotal": MEMORY, "NCPU": 8, "OperatingSystem": "Debian GNU/Linux 12 (bookworm)"}


def live(megabytes: int, peak: int, tasks: int, no_new_privileges: bool) -> dict[str, Any]:
    """What a container uses, as the probe would have measured it."""
    return {
        "memory": megabytes * 2**20,
        "memory_peak": peak * 2**20,
        "pids": tasks,
        "no_new_privileges": no_new_privileges,
    }


def record() -> dict[str, Any]:
    """Run the containers, and bring home what the engine says of them."""
    daemon = (HOST / "rootfs/etc/docker/daemon.json").read_text()
    flags = {"/etc/default/docker": 'DOCKER_OPTS="--log-level=debug"\n'}
    with PrivateEngine(daemon, flags) as engine:
        engine.run("mount", "--make-rshared", "/")  # as systemd leaves it
        engine.load_image()
        engine.docker("network", "create", "shop")
        for name, image, options, _ in CONTAINERS:
            engine.docker("tag", IMAGE, image)
            engine.docker("run", "--detach", "--name", name, *options, image)
        name, image, options = STOPPED
        engine.docker("run", "--name", name, *options, image, "true")
        engine.docker("rmi", IMAGE)
        names = [*(one[0] for one in CONTAINERS), STOPPED[0]]
        inspected = json.loads(engine.docker("inspect", *names))
        info = json.loads(engine.docker("info", "--format", "{{json .}}"))
        bridge = json.loads(engine.docker("network", "inspect", "bridge"))[0]
    return {
        "info": information(info),
        "bridge": {"Name": "bridge", "Driver": "bridge", "Options": bridge["Options"]},
        "inspect": [container(one, index) for index, one in enumerate(inspected)],
        "live": {name: live(*used, "no-new-privileges" in " ".join(options)) for name, _, options, used in CONTAINERS},
    }


def main() -> None:
    """Write the recording."""
    if reason := unavailable_reason():
        raise SystemExit(f"no engine can be recorded here: {reason}")
    path = HOST / "engine.json"
    path.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
