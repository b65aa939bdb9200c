"""Bad configurations: hosts on which a plan or an apply could do harm, and what became of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import picture
from tests.chaos.fleet import Fleet, populate
from tests.chaos.picture import Picture, differences
from tests.lab.host import Host
from tests.lab.lab import Lab

SERVICE = "/etc/systemd/system/docker.service.d"
RELOAD = "systemctl daemon-reload"


def daemon(text: str) -> str:
    """A script that writes /etc/docker/daemon.json."""
    return f"cat >/etc/docker/daemon.json <<'EOF'\n{text}\nEOF\n"


def drop_in(text: str) -> str:
    """A script that writes a drop-in of docker.service, and has systemd read it."""
    return f"mkdir -p {SERVICE}; cat >{SERVICE}/bad.conf <<'EOF'\n[Service]\n{text}\nEOF\n{RELOAD}\n"


@dataclass(frozen=True)
class Bad:
    """One bad configuration: what is done before the plan is made, and between plan and apply, by sh."""

    name: str
    before: str = ""
    between: str = ""


HANG = drop_in("ExecStart=\nExecStart=/bin/sh -c 'exec sleep 10000'")
STUBBORN = "docker run -d --name stubborn --restart always busybox:local sleep 10000"
ONE_START = "touch /tried; docker run -d --name brittle -v /tried:/tried --restart no busybox:local sh -c"

CONFIGS = (
    # daemon.json, changed by somebody and never started with
    Bad("unknown key before the plan", daemon('{"log-opts": {"max-size": "10m"}, "unknown-key": 1}')),
    Bad("key in the wrong case", daemon('{"ICC": true, "no-such": {}}')),
    Bad("content-trust as a key", daemon('{"content-trust": {"mode": "enforced"}}')),
    Bad("broken JSON before the plan", daemon('{"debug": false,')),
    Bad("empty file", ": >/etc/docker/daemon.json"),
    Bad("a list instead of an object", daemon("[]")),
    Bad("wrong type of a value", daemon('{"debug": "yes"}')),
    Bad("duplicate keys", daemon('{"debug": false, "debug": false}')),
    Bad("hosts as flag and as key", daemon('{"hosts": ["unix:///run/docker.sock"]}')),
    Bad("containerd as flag and as key", daemon('{"containerd": "/run/containerd/containerd.sock"}')),
    Bad("icc=false without iptables", daemon('{"icc": false, "iptables": false}')),
    Bad("missing seccomp profile", daemon('{"seccomp-profile": "/etc/docker/none.json"}')),
    Bad("broken seccomp profile", "echo '{' >/etc/docker/bad.json; " + daemon('{"seccomp-profile": "/etc/docker/bad.json"}')),
    Bad("unknown default runtime", daemon('{"default-runtime": "none-such"}')),
    Bad("invalid bip", daemon('{"bip": "300.1.1.1/24"}')),
    Bad("bip and bridge", daemon('{"bip": "10.9.0.1/24", "bridge": "br-none"}')),
    Bad("missing bridge", daemon('{"bridge": "br-none"}')),
    Bad("unknown log driver", daemon('{"log-driver": "none-such"}')),
    Bad("invalid size of logs", daemon('{"log-driver": "json-file", "log-opts": {"max-size": "many"}}')),
    Bad("option of another log driver", daemon('{"log-opts": {"splunk-token": "only-for-the-lab"}}')),
    Bad("unknown storage driver", daemon('{"storage-driver": "none-such"}')),
    Bad("authorization plugin that is not there", daemon('{"authorization-plugins": ["none-such"]}')),
    Bad("TLS without certificates", daemon('{"tlsverify": true, "tlscacert": "/etc/docker/none.pem"}')),
    Bad("daemon.json as a link", "mv /etc/docker/daemon.json /etc/docker/real.json; ln -s real.json /etc/docker/daemon.json"),
    Bad("daemon.json as a directory", "rm /etc/docker/daemon.json; mkdir /etc/docker/daemon.json"),
    # what changes between plan and apply
    Bad("unknown key between plan and apply", between=daemon('{"unknown-key": 1}')),
    Bad("another value between plan and apply", between=daemon('{"log-opts": {"max-size": "20m"}}')),
    Bad("broken JSON between plan and apply", between=daemon('{"debug": false,')),
    Bad("daemon.json removed between plan and apply", between="rm /etc/docker/daemon.json"),
    Bad("a drop-in with a conflicting flag", between=drop_in("ExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --no-new-privileges")),
    Bad("options with a conflicting flag", between="echo 'DOCKER_OPTS=\"--userland-proxy=true\"' >/etc/default/docker"),
    Bad("a drop-in that hangs at start", between=HANG),
    Bad("a drop-in that exits at start", between=drop_in("ExecStart=\nExecStart=/bin/false")),
    Bad("a step before the start that fails", between=drop_in("ExecStartPre=/bin/false")),
    Bad("a daemon that starts and dies", between=drop_in("ExecStart=\nExecStart=/bin/sh -c 'systemd-notify --ready; sleep 1; exit 1'\nNotifyAccess=all")),
    Bad("a file with options that is missing", between=drop_in("EnvironmentFile=/etc/none-such")),
    Bad("docker.service masked", between="systemctl mask docker.service"),
    Bad("docker.socket masked", between="systemctl mask docker.socket"),
    Bad("containerd.service masked", between="systemctl mask containerd.service"),
    Bad("a drop-in that hangs, before the plan", HANG),
    Bad("a drop-in that exits, before the plan", drop_in("ExecStart=\nExecStart=/bin/false")),
    # the host
    Bad("docker not enabled", "systemctl disable docker.service docker.socket"),
    Bad("socket activation alone", "systemctl disable docker.service; systemctl enable docker.socket"),
    Bad("start limit already hit", between="for i in 1 2 3; do systemctl restart docker || true; sleep 1; docker start once || true; done"),
    Bad("a container that ignores SIGTERM", STUBBORN),
    Bad("a container that starts only once", f"{ONE_START} 'if grep -q 1 /tried; then exit 1; fi; echo 1 >/tried; exec sleep 10000'"),
    Bad(
        "a health check that turns unhealthy",
        "touch /sick; docker run -d --name sick -v /sick:/sick --restart always --health-cmd 'test $(cat /sick | wc -l) -lt 2' "
        "--health-interval 1s --health-retries 1 busybox:local sh -c 'echo 1 >>/sick; exec sleep 10000'; sleep 4",
    ),
    Bad(
        "a port that does not answer again",
        "touch /deaf; docker run -d --name deaf -v /deaf:/deaf --restart always -p 8181:8080 busybox:local sh -c "
        "'echo 1 >>/deaf; if [ $(cat /deaf | wc -l) -lt 2 ]; then exec httpd -f -p 8080; fi; exec sleep 10000'; sleep 2",
    ),
    Bad("read-only /etc", between="mount --bind /etc /etc && mount -o remount,bind,ro /etc"),
    Bad("read-only /etc/docker", between="mount --bind /etc/docker /etc/docker && mount -o remount,bind,ro /etc/docker"),
    Bad("daemon.json that cannot be replaced", between="mount --bind /etc/docker/daemon.json /etc/docker/daemon.json"),
    Bad("/etc/environment that cannot be replaced", between="mount --bind /etc/environment /etc/environment"),
    Bad("full disk for the guard", between="mkdir -p /var/lib/remediator; chmod 700 /var/lib/remediator; mount -t tmpfs -o size=16k,mode=700 tmpfs /var/lib/remediator"),
    Bad("little disk for the guard", between="mkdir -p /var/lib/remediator; mount -t tmpfs -o size=144k,mode=700 tmpfs /var/lib/remediator"),
    Bad("full /etc/docker", before="cp -a /etc/docker /tmp/d; mount -t tmpfs -o size=8k,mode=755 tmpfs /etc/docker; cp -a /tmp/d/. /etc/docker/; head -c 4096 /dev/zero >/etc/docker/fill"),
    Bad("guard's directory as a link", between="rm -rf /var/lib/remediator; mkdir /srv/r; ln -s /srv/r /var/lib/remediator"),
    Bad("guard's directory open to all", between="mkdir -p /var/lib/remediator; chmod 0777 /var/lib/remediator"),
    Bad("guard's directory of somebody else", between="mkdir -p /var/lib/remediator; chown nobody /var/lib/remediator"),
    Bad("augenrules that fails", between="printf '#!/bin/sh\\nexit 3\\n' >/usr/local/sbin/augenrules; chmod 755 /usr/local/sbin/augenrules"),
    Bad("no docker command", between="mv /usr/bin/docker /usr/bin/docker.away"),
    Bad("no python between plan and apply", between="mv /usr/bin/python3 /usr/bin/python3.away"),
    Bad("no systemd-run", between="mv /usr/bin/systemd-run /usr/bin/systemd-run.away"),
)  # fmt: skip

# What was taken away to be judged without: it is no part of what the apply does
GIVE_BACK = """
for one in /usr/bin/docker /usr/bin/python3 /usr/bin/systemd-run; do if [ -e $one.away ]; then mv $one.away $one; fi; done
"""


@dataclass
class Outcome:
    """What became of a host with a bad configuration; `seconds` from failed starts to the old one serving."""

    name: str
    generation: str
    said: str = ""
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        return not self.problems


def run(work: Path, wanted: int, generations: list[str], at_once: int = 8) -> list[Outcome]:
    """Try so many bad configurations, generation by generation in turns, some hosts at a time."""
    cases = list(zip(CONFIGS[:wanted], itertools.cycle(generations), strict=False))
    found: list[Outcome] = []
    while cases:
        batch, cases = cases[:at_once], cases[at_once:]
        found += _batch(work / f"batch{len(found)}", batch)
    return found


def _batch(work: Path, batch: list[tuple[Bad, str]]) -> list[Outcome]:
    with Lab.create() as lab:
        hosts = lab.host_group([("", generation) for _, generation in batch])
        fleet = Fleet(lab, hosts, work)
        cases = {host.name: bad for host, (bad, _) in zip(hosts, batch, strict=True)}

        def script(host: Host, text: str) -> None:
            if text:
                host.run(["sh", "-c", text], check=False)

        def prepare(host: Host) -> None:
            populate(host)
            script(host, cases[host.name].before)

        fleet.each(prepare)
        fleet.limit = 60
        plan = fleet.plan()
        planned = {one["host"]["name"]: one for one in plan["hosts"]}
        before = fleet.pictures()

        def between(host: Host) -> Picture:
            script(host, cases[host.name].between)
            host.run(["sh", "-c", "docker start once >/dev/null 2>&1"], check=False)
            if host.exists("/usr/bin/python3"):
                return picture.take(host)
            return before[host.name]

        before |= fleet.each(between)
        process = fleet.start()
        process.wait(timeout=1500)
        fleet.each(lambda host: script(host, GIVE_BACK))
        told = {one["host"]["name"]: one for one in fleet.receipt().get("hosts", [])}
        found = []
        for name, seen in fleet.pictures().items():
            outcome = Outcome(cases[name].name, fleet.hosts[name].generation)
            _judge(outcome, before[name], seen, told.get(name, {}), planned.get(name, {}))
            fleet.say(f"{outcome.name} ({outcome.generation}): {outcome.said} {'; '.join(outcome.problems)}")
            found.append(outcome)
        return found


def _judge(outcome: Outcome, before: Picture, seen: Picture, told: dict[str, Any], planned: dict[str, Any]) -> None:
    changed = [one for one in differences(before, seen) if "remediator" not in one]
    if not told:
        held = _reasons(planned)
        outcome.said = f"nothing planned: {held}"
    elif told["ok"]:
        outcome.said = f"applied, without: {_reasons(planned)}"
        changed = []
    else:
        outcome.said = f"{'taken back' if told.get('undone') else 'refused'}: {'; '.join(told['errors'])[:300]}"
    outcome.problems += [f"changed: {one}" for one in changed]
    if before.answers and not seen.answers:
        outcome.problems.append("the engine does not answer any more")
    if lost := before.running - seen.running:
        outcome.problems.append(f"lost: {sorted(lost)}")
    outcome.problems += [f"left: {one}" for one in seen.left if "rescue" not in one]
    for journal in seen.runs.values():
        outcome.seconds += list(_failed_starts(journal))


def _reasons(planned: dict[str, Any]) -> str:
    """Why changes of a host were held, shortly."""
    reasons = sorted({one["reason"] for one in planned.get("held", [])})
    return "; ".join(reasons)[:300]


def _failed_starts(journal: str) -> Iterator[float]:
    """Seconds from when a failed start was noticed to when the daemon served again."""
    lines = [json.loads(line) for line in journal.splitlines()]
    undo = next((one["at"] for one in lines if one["step"] == "undo" and one["state"] == "will"), None)
    failed = any(one["step"] == "restart" for one in lines) and not any(
        one["step"] == "restart" and one["state"] == "did" for one in lines
    )
    back = [one["at"] for one in lines if one["step"] in ("restart back", "rescue") and one["state"] == "did"]
    if undo and failed and back:
        yield back[-1] - undo


def table(found: list[Outcome]) -> None:
    """Print what became of each."""
    for one in found:
        mark = "ok    " if one.survived else "FAILED"
        print(f"{mark} {one.generation:6} {one.name}: {one.said}")
        for problem in one.problems:
            print(f"         {problem}")
