"""Containers created anew by compose, by the command line: what was planned holds, what fails is taken back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import remediator

pytestmark = pytest.mark.lab

FILE: Final = "/srv/shop/compose.yaml"
GUARD: Final = "/var/lib/remediator/guard"
# `fragile` writes to its root file system all the time, and ends when it cannot.
SHOP: Final = """# The shop.
services:
  web:   # in front
    image: busybox:local
    privileged: true
    ports: ["8090:8080"]
    command: httpd -f -p 8080
  fragile:
    image: busybox:local
    command: sh -c "while :; do date > /state || exit 1; sleep 0.5; done"
"""
POLICY: Final = ("--fix", "unsafe", "--max-disruption", "recreate")


class Shop:
    """A server with a compose project, and the program that changes it from afar."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.host: Host = lab.host("shop", "28.5")
        self.host.wait_ready()
        self.host.load_image()
        self.host.write(FILE, SHOP)
        self.host.docker("compose", "-f", FILE, "up", "-d")
        self.inventory, self.folder = str(lab.inventory()), folder

    def run(self, *words: str, code: int) -> str:
        """Run the program; its output."""
        done = remediator(self.folder / "state", *words, folder=self.folder)
        assert done.returncode == code, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def plan(self, name: str, *controls: str, code: int = 2) -> Any:
        """Plan for some controls, and save it under a name."""
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({"name": name, "include": list(controls)}))
        words = ("-i", self.inventory, "--baseline", str(path), *POLICY)
        self.run("plan", *words, "-o", f"{name}.json", code=code)
        return json.loads((self.folder / f"{name}.json").read_text())["hosts"][0]

    def receipt(self) -> Any:
        """The receipt of the last run's host."""
        return json.loads(self.run("history", "--format", "json", code=0))[-1]

    def config(self, service: str) -> Any:
        """The HostConfig and the state of a service's container."""
        found = self.host.inspect(f"shop-{service}-1")
        return found["HostConfig"], found["State"]


@pytest.fixture(scope="module")
def shop(lab_machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The server, in a lab of its own."""
    with Lab.create() as lab:
        yield Shop(lab, tmp_path_factory.mktemp("recreate"))


def test_compose_creates_anew_what_was_planned(shop: Shop) -> None:
    """The file and the container have what was planned, a second plan is empty, and a rollback restores both."""
    plan = shop.plan("privileged", "container-privileged")
    assert [one["resource"] for one in plan["changes"]] == ["shop-web-1"]
    untouched = shop.host.inspect("shop-fragile-1")["Id"]
    predicted = json.loads(shop.run("apply", "privileged.json", "--dry-run", "--format", "json", code=2))
    assert shop.host.read(FILE) == SHOP
    shop.run("apply", "privileged.json", "--yes", code=2)
    receipt = shop.receipt()
    assert [one.removeprefix("shop: ") for one in predicted["changed"]] == receipt["hosts"][0]["changed"]
    assert shop.host.read(FILE) == SHOP.replace("    privileged: true\n", "    privileged: false\n")
    assert shop.config("web")[0]["Privileged"] is False
    assert shop.host.inspect("shop-fragile-1")["Id"] == untouched
    shop.plan("privileged", "container-privileged", code=0)

    shop.run("rollback", receipt["run"], code=2)
    assert shop.host.read(FILE) == SHOP
    assert shop.config("web")[0]["Privileged"] is True
    assert (
        shop.host.run(["busybox", "wget", "-q", "-O-", "http://127.0.0.1:8090/etc/hostname"], check=False).returncode
        == 0
    )


def test_a_container_that_does_not_run_on_is_taken_back(shop: Shop) -> None:
    """It ends without its writable root: the old file is back, and the container runs from it as before."""
    shop.plan("readonly", "container-readonly-rootfs")
    shop.run("apply", "readonly.json", "--yes", code=1)
    (host,) = shop.receipt()["hosts"]
    assert "shop-fragile-1" in host["undone"]
    assert shop.host.read(FILE) == SHOP
    config, state = shop.config("fragile")
    assert (config["ReadonlyRootfs"], state["Running"]) == (False, True)
    assert shop.config("web")[1]["Running"] is True
    assert not shop.host.exists("/var/lib/remediator/guard/current.json")
    assert not shop.host.exists("/etc/systemd/system/remediator-guard-boot.service")


def test_a_file_that_gets_limits_alone_is_checked(shop: Shop) -> None:
    """Compose reads it before anything takes effect, and the container runs on with the same process."""
    shop.plan("pids", "container-pids")
    pid = shop.config("web")[1]["Pid"]
    shop.run("apply", "pids.json", "--yes", code=2)
    receipt = shop.receipt()
    (host,) = receipt["hosts"]
    assert "Make it take effect: check the files of compose shop" in host["changed"]
    steps = [json.loads(line) for line in shop.host.read(f"{GUARD}/{receipt['run']}/journal.jsonl").splitlines()]
    done = [one["step"] for one in steps if one["state"] == "did"]
    assert done.index("check") < done.index("limits")
    assert shop.host.read(FILE).count("pids_limit: 128") == 2
    assert (shop.config("web")[0]["PidsLimit"], shop.config("web")[1]["Pid"]) == (128, pid)
    shop.run("rollback", receipt["run"], code=2)
    assert shop.host.read(FILE) == SHOP


@pytest.fixture
def applied_to_swarm(lab_machine: None, tmp_path: Path) -> Iterator[Callable[[], Shop]]:
    """A manager whose one service has too many privileges, and an apply that updates it."""
    with Lab.create() as lab:

        def make() -> Shop:
            made = Shop(lab, tmp_path)
            made.host.docker("compose", "-f", FILE, "down")
            made.host.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
            made.host.docker("service", "create", "--detach=false", "--name", "api", "busybox:local", timeout=180)
            return made

        yield make


def test_a_swarm_service_is_updated(applied_to_swarm: Callable[[], Shop]) -> None:
    """Its tasks have other names afterwards, and the fresh look knows them by their service."""
    made = applied_to_swarm()
    plan = made.plan("memory", "container-memory")
    assert [one["owner"] for one in plan["steps"]["recreates"]] == ["swarm"]
    made.run("apply", "memory.json", "--yes", code=2)
    spec = json.loads(made.host.docker("service", "inspect", "api").stdout)[0]["Spec"]
    assert spec["TaskTemplate"]["Resources"]["Limits"]["MemoryBytes"] == plan["changes"][0]["after"]
    made.plan("memory", "container-memory", code=0)
