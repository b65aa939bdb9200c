"""Changes of containers go to who creates them, on real servers: compose, units that run docker, a swarm, nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pytest

from remediator.apply import verify
from remediator.baseline import Baseline, BaselineFile, build, load_controls
from remediator.edited import join
from remediator.model import Check, Disruption, HostState, Recreate, Safety
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import plan_host
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.program import remediator

pytestmark = pytest.mark.lab

SECRET: Final = "hunter2-hunter2"  # noqa: S105 - looked for where it must not be
COMPOSE: Final = "/srv/shop/compose.yaml"
METRICS: Final = "/etc/systemd/system/metrics.service"
CACHE: Final = "/etc/systemd/system/cache.service"
SHOP: Final = f"""# The shop.
x-logging: &logging
  driver: json-file

services:
  web:   # in front
    image: busybox:local
    logging: *logging
    privileged: true
    environment:
      - TOKEN={SECRET}
      - "MODE=production"
    cap_add: [NET_ADMIN, "SYS_TIME"]
    security_opt:
      - seccomp:unconfined   # was needed once

  worker:
    image: 'busybox:local'
    environment: {{PLAIN: {SECRET}}}
    pid: host
    restart: always
    scale: 2

  edge:
    image: busybox:local
    network_mode: bridge
    ports:
      - "8081:80"   # the old one
    volumes:
      - type: bind
        source: /srv/data
        target: /data
        bind: {{propagation: rshared}}
      - /srv/more:/more:ro,rshared
"""
UNIT: Final = """[Unit]
Description=%s
[Service]
ExecStartPre=-/usr/bin/docker rm --force %%N
ExecStart=/usr/bin/docker run --rm --name %%N \\
  --privileged --cap-add=SYS_TIME \\
  %s--volume /srv/data:/data:shared -p %d:80/tcp --label 'of=the %%n' busybox:local
ExecStop=/usr/bin/docker stop %%N
"""
CONTROLS: Final = (
    "container-privileged",
    "container-capabilities",
    "container-readonly-rootfs",
    "container-host-pid",
    "container-seccomp",
    "container-no-new-privileges",
    "container-memory",
    "container-restart-policy",
    "container-default-bridge",
    "container-bound-address",
    "container-healthcheck",
    "container-mount-propagation",
)
TAILORING: Final = {
    "container-bound-address": {"expect": {"items_set_if": {"HostIp": {"unset": ["", "0.0.0.0"], "to": "127.0.0.1"}}}},  # noqa: S104
    "container-healthcheck": {"expect": {"set_if": {"unset": [[]], "to": ["CMD-SHELL", "test -d /proc"]}}},
}


@dataclass(frozen=True)
class Story:
    """A host before, its plan, what its files were, and the host after the plan's steps were made by hand."""

    before: HostState
    plan: HostPlan
    texts: dict[str, str]
    after: HostState
    inspects: dict[str, Any]
    proposed: dict[str, Any]


def collected(lab: Lab, host: Host) -> tuple[HostState, str]:
    """The state of a host as the program collects it, and its text."""
    done = remediator(lab.directory / "state", "collect", "-i", lab.inventory(), "--limit", host.name)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=HostState), done.stdout


def selected(*controls: str) -> Baseline:
    """A baseline of some controls, or of those of the story."""
    given = {"name": "test", "include": list(controls or CONTROLS), "tailoring": {} if controls else TAILORING}
    return build(msgspec.convert(given, BaselineFile), load_controls())


def planned(state: HostState, *controls: str) -> HostPlan:
    """The plan of a host for them, with all disruption that there is."""
    return plan_host(state, selected(*controls), Policy(Safety.UNSAFE, Disruption.RECREATE))


def make(host: Host, plan: HostPlan) -> dict[str, str]:
    """Make the edits and recreates of a plan by hand, as its steps say; the texts of the files before."""
    before = {}
    for edit in plan.steps.files:
        before[edit.path] = host.read(edit.path) if host.exists(edit.path) else ""
        new = join(list(edit.pieces), before[edit.path]) if edit.masked else edit.content
        host.write(edit.path, new)
    for words in [*(one.words for one in plan.steps.checks), *(up for one in plan.steps.recreates for up in one.up)]:
        host.run(words)
    return before


@pytest.fixture(scope="module")
def story(lab: Lab) -> Iterator[Story]:
    """A compose project, two units and a container of nobody on the newest engine, hardened by the plan's steps."""
    host = lab.host("", "28.5")
    try:
        host.wait_ready()
        host.load_image()
        host.run(["mkdir", "-p", "/srv/data", "/srv/more"])
        host.run(["mount", "--make-shared", "/"])
        host.write(COMPOSE, SHOP)
        host.docker("compose", "--project-directory", "/srv/shop", "up", "-d")
        host.write(METRICS, UNIT % ("metrics", "", 8082))
        host.write(CACHE, UNIT % ("cache", f"-e TOKEN={SECRET} --env 'MODE=two words' ", 8083))
        host.run(["systemctl", "daemon-reload"])
        host.run(["systemctl", "start", "metrics", "cache"])
        options = ("--privileged", "-e", f"TOKEN={SECRET}", "--label", f"who={SECRET}", "-v", "/srv/data:/data:ro")
        host.run_container("orphan", *options, command=("sleep", "3600"))
        before, text = collected(lab, host)
        assert SECRET not in text
        plan = planned(before)
        texts = make(host, plan)
        after, text = collected(lab, host)
        assert SECRET not in text
        inspects = {name: host.inspect(name) for name in after.facts["container"]}
        host.write("/root/orphan.sh", plan.proposals["orphan"])
        host.run(["env", f"TOKEN={SECRET}", "sh", "/root/orphan.sh"])
        yield Story(before, plan, texts, after, inspects, host.inspect("orphan"))
    finally:
        lab.remove(host)


def recreate(plan: HostPlan, name: str) -> Recreate:
    """The step of that name."""
    (found,) = [one for one in plan.steps.recreates if one.name == name]
    return found


def test_each_container_has_its_owner(story: Story) -> None:
    """Labels and names lead to the service, the unit and its line, or to nobody."""
    owners = {name: fact.evidence["owner"] for name, fact in story.before.facts["container"].items()}
    assert owners == {
        "shop-web-1": {"kind": "compose", "name": "shop/web", "where": f"{COMPOSE}:6"},
        "shop-worker-1": {"kind": "compose", "name": "shop/worker", "where": f"{COMPOSE}:17"},
        "shop-worker-2": {"kind": "compose", "name": "shop/worker", "where": f"{COMPOSE}:17"},
        "metrics": {"kind": "systemd", "name": "metrics.service", "where": f"{METRICS}:5"},
        "cache": {"kind": "systemd", "name": "cache.service", "where": f"{CACHE}:5"},
        "orphan": {},
        "shop-edge-1": {"kind": "compose", "name": "shop/edge", "where": f"{COMPOSE}:24"},
    }


def test_the_compose_file_is_changed_in_the_lines_concerned(story: Story) -> None:
    """Comments, order, quotes and secrets stay; what is asked for is what differs."""
    (edit,) = [one for one in story.plan.steps.files if one.path == COMPOSE]
    old, new = story.texts[COMPOSE], join(list(edit.pieces), story.texts[COMPOSE])
    assert (SECRET in old, SECRET in new, SECRET in str(edit.pieces)) == (True, True, False)
    gone = [line for line in old.splitlines() if line not in new.splitlines()]
    assert gone == [
        "    privileged: true",
        '    cap_add: [NET_ADMIN, "SYS_TIME"]',
        "      - seccomp:unconfined   # was needed once",
        "    pid: host",
        "    restart: always",
        "    network_mode: bridge",
        '      - "8081:80"   # the old one',
        "        bind: {propagation: rshared}",
        "      - /srv/more:/more:ro,rshared",
    ]
    for line in (
        "    privileged: false",
        "      - no-new-privileges:true   # was needed once",
        "    restart: on-failure:5",
        '      - "127.0.0.1:8081:80"   # the old one',
        "        bind: {propagation: rslave}",
        "      - /srv/more:/more:ro,rslave",
        "    read_only: true",
        "    mem_limit: 64m",
    ):
        assert line in new.splitlines()
    assert join(list(edit.inverse), new) == old


def test_services_are_created_anew_one_by_one(story: Story) -> None:
    """The project is checked first; each step keeps the number of containers, and knows its file."""
    base = ("docker", "compose", "-p", "shop", "--project-directory", "/srv/shop", "-f", COMPOSE)
    worker = recreate(story.plan, "shop/worker")
    assert Check("compose shop", (*base, "config", "-q"), (COMPOSE,)) in story.plan.steps.checks
    assert worker.up == ((*base, "up", "-d", "--no-deps", "--scale", "worker=2", "worker"),)
    assert (worker.containers, worker.files) == (("shop-worker-1", "shop-worker-2"), (COMPOSE,))
    assert recreate(story.plan, "shop/web").up == ((*base, "up", "-d", "--no-deps", "web"),)


def test_a_unit_gets_a_drop_in(story: Story) -> None:
    """The unit stays as it is; specifiers, quotes and continued lines are in the drop-in as well."""
    step = recreate(story.plan, "metrics.service")
    path = f"{METRICS}.d/50-remediator.conf"
    assert (step.files, step.up[1]) == ((path,), ("systemctl", "try-restart", "metrics.service"))
    (edit,) = [one for one in story.plan.steps.files if one.path == path]
    assert edit.content.splitlines()[1:] == [
        "[Service]",
        "ExecStart=",
        "ExecStart=/usr/bin/docker run --read-only --security-opt=no-new-privileges --memory=67108864 "
        '--memory-swap=134217728 "--health-cmd=test -d /proc" --rm --name %N \\',
        "  --volume=/srv/data:/data:rslave --publish=127.0.0.1:8082:80 --label 'of=the %n' busybox:local",
    ]


def test_a_unit_with_secrets_is_edited_where_they_stand(story: Story) -> None:
    """Its command line could not be repeated elsewhere without them."""
    (edit,) = [one for one in story.plan.steps.files if one.path == CACHE]
    new = join(list(edit.pieces), story.texts[CACHE])
    assert f"-e TOKEN={SECRET} --env 'MODE=two words' --volume=/srv/data:/data:rslave" in new
    assert (SECRET in str(edit.pieces), "--privileged" in new) == (False, False)


def test_containers_created_anew_are_as_planned(story: Story) -> None:
    """The engine, asked afterwards, says what the plan wanted, and the program calls it fixed."""
    for name in ("shop-web-1", "shop-worker-1", "shop-worker-2", "shop-edge-1", "metrics", "cache"):
        host = story.inspects[name]["HostConfig"]
        seen = (host["Privileged"], host["CapAdd"], host["ReadonlyRootfs"], host["PidMode"], host["Memory"])
        assert seen == (False, None, True, "", 64 * 2**20)
        assert any(one.startswith("no-new-privileges") for one in host["SecurityOpt"])
        assert story.inspects[name]["State"]["Running"]
    assert story.inspects["shop-edge-1"]["HostConfig"]["NetworkMode"] == "shop_default"
    fixed, pending, failed = verify.sort(story.plan, story.after, selected())
    assert ([one.resource for one in failed], pending) == (["orphan"], [])  # its limit is live alone: not made here
    assert {one.resource for one in fixed} == set(story.inspects) - {"orphan"}


def test_a_second_plan_changes_no_owner(story: Story) -> None:
    """What is right is left alone."""
    again = plan_host(story.after, selected(), Policy(Safety.UNSAFE, Disruption.RECREATE))
    assert (again.steps.files, again.steps.recreates) == ((), ())


def test_a_proposal_runs_the_container_hardened(story: Story) -> None:
    """The script of a container that nobody owns, run by hand, gives it what was held, and its variable."""
    assert story.plan.proposals.keys() == {"orphan"}
    assert story.proposed["HostConfig"]["Privileged"] is False
    assert story.proposed["HostConfig"]["ReadonlyRootfs"] is True
    assert story.proposed["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert story.proposed["Config"]["Healthcheck"]["Test"] == ["CMD-SHELL", "test -d /proc"]
    assert f"TOKEN={SECRET}" in story.proposed["Config"]["Env"]
    assert story.proposed["Config"]["Cmd"] == ["sleep", "3600"]
    assert story.proposed["State"]["Running"]


# --- swarm ------------------------------------------------------------------------------------------


def test_a_service_of_a_swarm_is_updated(lab: Lab) -> None:
    """On a manager its tasks are created anew by the service, which has its own way back."""
    host = lab.host("", "26.1")
    try:
        host.wait_ready()
        host.load_image()
        host.docker("swarm", "init", "--advertise-addr", host.ip)
        options = ("--replicas", "2", "--cap-add", "NET_ADMIN", "--restart-condition", "any", "--detach=false")
        host.docker("service", "create", "--name", "shop", "--no-resolve-image", *options, "busybox:local")
        before, _ = collected(lab, host)
        controls = ("container-capabilities", "container-memory", "container-readonly-rootfs", "container-pids")
        plan = planned(before, *controls, "container-restart-policy", "container-no-new-privileges")
        (step,) = plan.steps.recreates
        assert (step.owner, step.name, len(step.containers)) == ("swarm", "shop", 2)
        assert plan.steps.updates == ()
        assert {one.reason for one in plan.held} == {
            "`docker service update` has no option for /HostConfig/SecurityOpt"
        }
        make(host, plan)
        after, _ = collected(lab, host)
        running = [one for one in after.facts["container"].values() if one.evidence["state"]["Running"]]
        for fact in running:
            config = fact.document["HostConfig"]
            assert (config["CapAdd"], config["ReadonlyRootfs"]) == ([], True)
            assert (config["Memory"] > 0, config["PidsLimit"] > 0) == (True, True)
            assert config["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 5}
        assert len(running) == 2
        host.run(step.undo[0])
        back, _ = collected(lab, host)
        now = [
            one.document["HostConfig"] for one in back.facts["container"].values() if one.evidence["state"]["Running"]
        ]
        assert [one["CapAdd"] for one in now] == [["CAP_NET_ADMIN"]] * 2
    finally:
        lab.remove(host)
