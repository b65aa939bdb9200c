"""Impact: what the evidence of a host makes of a change, and of its safety."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from remediator.impact.verdict import BREAKS, RULED_OUT, UNKNOWN
from remediator.model import Change, Disruption, Safety
from remediator.plan.model import HostPlan, Policy
from remediator.plan.plan import make, plan_host
from remediator.report import plans, terminal
from tests.unit.host import GIB, MIB, baseline, engine, inspect, state

ALL = Policy(Safety.UNSAFE, Disruption.RECREATE)
SAFE = Policy(Safety.SAFE, Disruption.RECREATE)
OLD, NEW = "2026-11-21T12:00:00Z", "2026-11-23T11:59:00Z"
PLAIN = {"uids": [1000], "capabilities": "a80425fb", "permitted": "a80425fb", "bounding": "a80425fb", "handles": 64}
ADDRESSES = {"one": "172.17.0.2", "two": "172.17.0.3"}


def live(**more: Any) -> dict[str, Any]:
    """What is seen of a container that does nothing."""
    used = {"memory": 10 * MIB, "memory_peak": 20 * MIB, "pids": 2, "pids_peak": 8, "written": [], "setuid": []}
    net = {"listens": [], "peers": [], "neighbours": [], **more.pop("network", {})}
    return {**used, "processes": {**PLAIN, **more.pop("processes", {})}, "network": net, **more}


def plan(
    control: str,
    *containers: dict[str, Any],
    seen: dict[str, dict[str, Any]] | None = None,
    policy: Policy = ALL,
    config: str | None = None,
    around: dict[str, Any] | None = None,
    **more: Any,
) -> HostPlan:
    """The plan of one control on a host that runs, with what was seen of its containers."""
    fields = {key: more.pop(key) for key in ("info", "icc") if key in more}
    found = engine(*containers, live=seen, **fields)
    found["host"] = {"addresses": ["172.17.0.1", "127.0.0.1"], "peers": [], "tracked": [], "swap": 0, **(around or {})}
    for name, one in found["containers"].items():
        if "bridge" in one["state"]["Networks"]:
            one["state"]["Addresses"] = {"bridge": [ADDRESSES.get(name, "172.17.0.9")]}
    given = state(config, daemon={}, found=found, root="/", **more)
    return plan_host(given, baseline(control), policy)


def the(plan: HostPlan) -> Change:
    """The first change of a plan, whether made or held."""
    every = [*plan.changes, *(one for held in plan.held for one in held.finding.changes)]
    return every[0]


def said(plan: HostPlan) -> str:
    """The first sentence of the verdict."""
    return next(one for one in the(plan).evidence if one.startswith((BREAKS, UNKNOWN, RULED_OUT)))


def bridged(name: str, started: str = OLD, **more: Any) -> dict[str, Any]:
    """A container on docker0."""
    return inspect(
        name, {"NetworkMode": "default", **more.pop("host", {})}, networks=["bridge"], started=started, **more
    )


SERVER = {"listens": [["tcp", "::", 8080]]}


def test_nobody_on_the_bridge_makes_icc_safe() -> None:
    """Without two containers on docker0 there is no path to lose, and the change runs under --fix safe."""
    plan_ = plan("docker-icc", inspect("web", networks=["app"]), icc="true", policy=SAFE)
    assert said(plan_) == f"{RULED_OUT}no containers are on docker0"
    assert [one.safety for one in plan_.changes] == [Safety.SAFE]


@pytest.mark.parametrize(
    "network",
    [
        {"peers": [["tcp", "172.17.0.2", 0, "172.17.0.3", 8080]]},
        {"neighbours": ["172.17.0.3"]},
    ],
)
def test_a_flow_on_the_bridge_is_named(network: dict[str, Any]) -> None:
    """A connection, or packets ever exchanged: icc=false breaks it, with both names."""
    seen = {"one": live(network=network), "two": live(network=SERVER)}
    plan_ = plan("docker-icc", bridged("one"), bridged("two"), seen=seen, icc="true", policy=SAFE)
    assert plan_.changes == ()
    assert said(plan_).startswith(BREAKS)
    assert "one" in said(plan_) and "two" in said(plan_)


def test_the_firewall_remembers_datagrams() -> None:
    """What connection tracking knows counts as well."""
    seen = {"one": live(), "two": live()}
    tracked = {"tracked": [["udp", "172.17.0.2", "172.17.0.3", 53]]}
    plan_ = plan("docker-icc", bridged("one"), bridged("two"), seen=seen, icc="true", around=tracked)
    assert said(plan_) == f"{BREAKS}one talks to udp 53 of two"


def test_a_link_lets_its_port_through() -> None:
    """icc=false leaves legacy links to exposed ports alone."""
    peers = [["tcp", "172.17.0.2", 0, "172.17.0.3", 8080]]
    seen = {"one": live(network={"peers": peers, "neighbours": ["172.17.0.3"]}), "two": live(network=SERVER)}
    two = bridged("two")
    two["Config"]["ExposedPorts"] = {"8080/tcp": {}}
    plan_ = plan("docker-icc", bridged("one", host={"Links": ["/two:/one/two"]}), two, seen=seen, icc="true")
    assert said(plan_).startswith(RULED_OUT)
    assert "one talks to tcp 8080 of two, by a link, which stays" in the(plan_).evidence


@pytest.mark.parametrize(("started", "word"), [(OLD, RULED_OUT), (NEW, UNKNOWN)])
def test_silence_counts_only_after_a_day(started: str, word: str) -> None:
    """A server that nobody has talked to in a day is left out; one that has run for a minute is not judged."""
    seen = {"one": live(), "two": live(network=SERVER)}
    plan_ = plan("docker-icc", bridged("one", started), bridged("two", started), seen=seen, icc="true")
    assert said(plan_).startswith(word)
    assert the(plan_).safety is (Safety.SAFE if word == RULED_OUT else Safety.UNSAFE)


def test_silence_counts_for_nothing_where_the_kernel_forgets() -> None:
    """With more neighbours than it keeps, the kernel may have forgotten some."""
    seen = {"one": live(), "two": live(network=SERVER)}
    full = {"neighbours": 200, "neighbours_kept": 128}
    plan_ = plan("docker-icc", bridged("one"), bridged("two"), seen=seen, icc="true", around=full)
    assert said(plan_).startswith(UNKNOWN)


def test_what_could_not_be_looked_at_is_not_ruled_out() -> None:
    """Without its sockets a container's silence says nothing."""
    seen = {"one": live(), "two": {**live(), "network": {}}}
    plan_ = plan("docker-icc", bridged("one"), bridged("two"), seen=seen, icc="true")
    assert said(plan_) == f"{UNKNOWN}the connections of two could not be looked at"


def test_a_stopped_neighbour_is_not_ruled_out() -> None:
    """What is started at night may need what runs by day."""
    seen = {"one": live()}
    plan_ = plan("docker-icc", bridged("one"), bridged("job", running=False), seen=seen, icc="true")
    assert said(plan_).startswith(f"{UNKNOWN}what job reaches")


def test_a_file_tree_keeps_the_static_class() -> None:
    """Where nothing runs nothing is judged."""
    found = engine(inspect("web", networks=["app"]), icc="true")
    plan_ = plan_host(state("{}", found=found), baseline("docker-icc"), ALL)
    (change,) = [one for held in plan_.held for one in held.finding.changes] or plan_.changes
    assert (change.safety, change.evidence) == (Safety.UNSAFE, ())


@pytest.mark.parametrize(
    ("control", "host", "seen", "word"),
    [
        ("container-readonly-rootfs", {}, live(), RULED_OUT),
        ("container-readonly-rootfs", {}, live(written=["/tmp", "/run/app.pid"]), BREAKS),
        ("container-readonly-rootfs", {}, live(written=None), UNKNOWN),
        ("container-capabilities", {"CapAdd": ["CHOWN"]}, live(), RULED_OUT),
        ("container-capabilities", {"CapAdd": ["CAP_CHOWN"]}, live(), RULED_OUT),
        ("container-capabilities", {"CapAdd": ["CHOWN"], "CapDrop": ["ALL"]}, live(), UNKNOWN),
        ("container-capabilities", {"CapAdd": ["NET_ADMIN"]}, live(processes={"capabilities": "1000"}), UNKNOWN),
        ("container-capabilities", {"CapAdd": ["NET_ADMIN"]}, live(network={"interfaces": ["wg0"]}), BREAKS),
        ("container-capabilities", {"CapAdd": ["ALL"]}, live(processes={"locked": 4096}), BREAKS),
        ("container-capabilities", {"CapAdd": ["SYS_TIME"]}, live(network={"listens": [["udp", "::", 123]]}), BREAKS),
        ("container-capabilities", {"CapAdd": ["SYS_TIME"]}, live(), RULED_OUT),
        ("container-capabilities", {"CapAdd": ["SYS_TIME"]}, live(setuid=["/bin/su"]), UNKNOWN),
        ("container-privileged", {"Privileged": True}, live(processes={"devices": ["/dev/fuse"]}), BREAKS),
        ("container-privileged", {"Privileged": True}, live(processes={"mounts": ["/mnt"]}), BREAKS),
        ("container-privileged", {"Privileged": True}, live(processes={"capabilities": "3fffffffff"}), UNKNOWN),
        ("container-no-new-privileges", {}, live(), RULED_OUT),
        ("container-no-new-privileges", {}, live(setuid=["/bin/su"]), UNKNOWN),
        ("container-no-new-privileges", {}, live(processes={"risen": ["helper"]}), BREAKS),
        ("container-no-new-privileges", {}, live(setuid=["/bin/su"], processes={"uids": [0, 1000]}), BREAKS),
        ("container-seccomp", {"SecurityOpt": ["seccomp=unconfined"]}, live(processes={"spaces": ["user"]}), BREAKS),
        ("container-host-pid", {"PidMode": "host"}, live(processes={"host_files": ["/proc/1"]}), BREAKS),
        ("container-host-pid", {"PidMode": "host"}, live(), UNKNOWN),
        ("container-host-uts", {"UTSMode": "host"}, live(), BREAKS),
        ("container-host-uts", {"UTSMode": "host", "NetworkMode": "host"}, live(), RULED_OUT),
        ("container-host-userns", {"UsernsMode": "host"}, live(), RULED_OUT),
        ("container-memory", {}, live(), RULED_OUT),
        ("container-memory", {}, live(memory_peak=0, memory=0), UNKNOWN),
        ("container-pids", {}, live(), RULED_OUT),
        ("container-pids", {}, live(pids_peak=1000), BREAKS),
        ("container-pids", {}, live(pids_peak=0), UNKNOWN),
        ("container-cgroup-parent", {"CgroupParent": "/limited"}, live(), UNKNOWN),
        ("container-restart-policy", {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
         live(processes={"handles_sigterm": True}), BREAKS),
        ("container-restart-policy", {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}},
         live(processes={"handles_sigterm": False}), RULED_OUT),
    ],
)  # fmt: skip
def test_what_a_container_does_decides(control: str, host: dict[str, Any], seen: dict[str, Any], word: str) -> None:
    """Use that shows breaks, use that is impossible is ruled out, and the rest keeps its class."""
    found = plan(control, inspect("web", host, started=OLD), seen={"web": seen})
    change = the(found)
    assert said(found).startswith(word)
    wanted = {BREAKS: Safety.UNSAFE, RULED_OUT: Safety.SAFE, UNKNOWN: Safety.UNSAFE}[word]
    assert change.safety is wanted


@pytest.mark.parametrize("control", ["container-readonly-rootfs", "container-memory", "container-pids"])
def test_nothing_is_ruled_out_of_a_container_that_has_just_started(control: str) -> None:
    """What has run for a minute may do anything yet."""
    found = plan(control, inspect("web", started=NEW), seen={"web": live()})
    assert said(found).startswith(UNKNOWN)
    assert the(found).safety is Safety.UNSAFE


def test_manual_stays_manual() -> None:
    """What a person decides is not taken over, and the evidence is there for the person."""
    found = plan("docker-userns-remap", inspect("web"), seen={"web": live()})
    assert the(found).safety is Safety.MANUAL
    assert said(found).startswith(BREAKS)


def test_a_restart_says_what_stops_and_what_is_lost() -> None:
    """Without live-restore: who stops, who takes longest, who stays down, and what --rm removes."""
    slow = live(processes={"handles_sigterm": False})
    containers = [inspect("web"), inspect("job", {"AutoRemove": True})]
    seen = {"web": slow, "job": live(processes={"handles_sigterm": True})}
    config = '{"log-level": "debug"}'
    found = plan("docker-log-level", *containers, seen=seen, config=config, policy=SAFE)
    assert said(found) == f"{BREAKS}the restart removes job for good, since they run with --rm"
    assert "the slowest is web, which does not listen to SIGTERM: 10 seconds" in the(found).evidence
    assert found.changes == ()


@pytest.mark.parametrize(("client", "image", "word"), [
    ("28.5.2", "app:1", BREAKS), ("29.0.0", "app:1", RULED_OUT), ("28.5.2", "app@sha256:" + "0" * 64, RULED_OUT),
    ("", "app:1", UNKNOWN),
])  # fmt: skip
def test_content_trust_breaks_what_is_pulled_by_tag(client: str, image: str, word: str) -> None:
    """Clients from 29 on ignore it, and digests need no notary."""
    one = inspect("web")
    one["Config"]["Image"] = image
    found = plan("env-content-trust", one, seen={"web": live()}, about={"cli": client})
    assert said(found).startswith(word)


@pytest.mark.parametrize(("registries", "word"), [
    (["registry.lan:5000"], BREAKS), (["other.lan:5000"], RULED_OUT), (["10.0.0.0/8"], UNKNOWN),
])  # fmt: skip
def test_an_insecure_registry_is_missed_where_images_come_from_it(registries: list[str], word: str) -> None:
    """By name, or perhaps by address."""
    import json

    one = inspect("web")
    one["Config"]["Image"] = "registry.lan:5000/app:1"
    config = json.dumps({"insecure-registries": registries})
    found = plan("docker-insecure-registries", one, seen={"web": live()}, config=config)
    assert said(found).startswith(word)


def test_memory_that_is_file_cache_is_not_needed() -> None:
    """A peak above the limit breaks where it was memory of processes, and is left open where files explain it."""
    web = inspect("web", started=OLD)
    for cache, word in ((0, BREAKS), (400 * MIB, UNKNOWN)):
        found = engine(web, live={"web": live(memory=450 * MIB, memory_peak=500 * MIB, memory_cache=cache)})
        found["host"] = {"swap": 0}
        wanted = {"container-memory": {"expect": {"set_if": {"unset": [0], "to": 128 * MIB}}}}
        given = state(found=found, root="/", about={"memory": 4 * GIB})
        assert said(plan_host(given, baseline("container-memory", tailoring=wanted), ALL)).startswith(word)


def test_the_plan_of_many_hosts_says_what_breaks_where() -> None:
    """A sentence once, with the hosts and containers that it is about; what is ruled out is not told."""
    given = []
    for name, written in (("one", ["/data/x"]), ("two", ["/data/x"]), ("three", [])):
        found = engine(
            inspect("web", started=OLD),
            inspect("idle", started=OLD),
            live={"web": live(written=written), "idle": live()},
        )
        found["host"] = {"addresses": [], "peers": [], "tracked": [], "swap": 0}
        given.append(state(None, daemon={}, found=found, root="/", about={"hostname": name}))
    made = make(
        given, baseline("container-readonly-rootfs"), ALL, datetime(2026, 11, 23, tzinfo=UTC), inventory="i.yml"
    )
    out = io.StringIO()
    plans.plan(made, terminal.Writer(out))
    assert "one web, two web: breaks: it has written to /data/x" in out.getvalue()
    assert RULED_OUT not in out.getvalue()
