"""Bad configurations, as data: dockerd does not start with them, or an apply does not get through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ends = Literal["held", "refused", "taken back", "applied"]
CONFIG = "/etc/docker/daemon.json"
SERVICE = "/etc/systemd/system/docker.service.d"
RELOAD = "systemctl daemon-reload"


def daemon(text: str) -> str:
    """A script that writes /etc/docker/daemon.json."""
    return f"cat >{CONFIG} <<'EOF'\n{text}\nEOF\n"


def drop_in(text: str) -> str:
    """A script that writes a drop-in of docker.service, and has systemd read it."""
    return f"mkdir -p {SERVICE}; cat >{SERVICE}/bad.conf <<'EOF'\n[Service]\n{text}\nEOF\n{RELOAD}\n"


def starts(text: str) -> str:
    """A script that has docker.service start something else."""
    return drop_in(f"ExecStart=\nExecStart={text}")


@dataclass(frozen=True)
class Bad:
    """One bad configuration: what is done before the plan is made, and between plan and apply, by sh -e.

    How it `ends`: "held" (nothing or only a part is planned), "refused" (by apply, before anything is changed),
    "taken back" (by the host itself), or "applied" (it is harmless here). What the operator is told matches `says`.
    With `stops` the plan leaves live-restore out, and the restart stops all containers. One that is only bad on
    some `generation`, or ends otherwise on others, is tried on that.
    """

    name: str
    ends: Ends
    says: str
    before: str = ""
    between: str = ""
    stops: bool = False
    generation: str = ""


FILE_CHANGED = "daemon.json has changed since"
START_CHANGED = r"bad\.conf|docker\.service"  # a reason that names what has changed, which daemon.json has not
NOT_STARTED = "did not start: (?!time=[^ ]* level=info)"  # what the daemon of before told of itself is no reason
NOT_OURS = "is not a directory that its owner alone can write to"
EXITS = starts("/bin/false")
HANGS = starts("/bin/sh -c 'exec sleep 10000'")
DIES = starts("/bin/sh -c 'systemd-notify --ready; sleep 1; exit 1'\nNotifyAccess=all")
# with it the daemon reads an empty file, which only 20.10 refuses to start with: others would start, in a mount
# namespace of their own, and no container with them, whoever restarts them
DENIED = drop_in(f"InaccessiblePaths={CONFIG}")
# FS_IOC_SETFLAGS with FS_IMMUTABLE_FL, as of chattr +i, which the hosts lack
IMMUTABLE = f"""python3 -c 'import fcntl; fcntl.ioctl(open("{CONFIG}"), 0x40086602, (16).to_bytes(8, "little"))'"""
# the old configuration starts, and the planned one does not
PLANNED = f"grep -q no-new-privileges {CONFIG}"
STUBBORN = "docker run -d --name stubborn --restart always busybox:local sleep 10000"
# these fail at their second start alone: that by the restart, not that by the way back
COUNT = "echo 1 >>/count; n=$(cat /count | wc -l)"
RUN = "touch /count; docker run -d -v /count:/count"
SICK = (
    f"{RUN} --name sick --restart always --health-cmd 'test $(cat /count | wc -l) -ne 2' --health-interval 1s "
    f"--health-retries 1 busybox:local sh -c '{COUNT}; exec sleep 10000'; sleep 5"
)
DEAF = (
    f"{RUN} --name deaf --restart always -p 8181:8080 busybox:local "
    f"sh -c '{COUNT}; [ $n -eq 2 ] && exec sleep 10000; exec httpd -f -p 8080'; sleep 2"
)
BRITTLE = f"{RUN} --name brittle busybox:local sh -c '{COUNT}; [ $n -ne 2 ] && exec sleep 10000'"
# all that systemd allows in a minute, whatever was started before
START_LIMIT = "systemctl reset-failed docker docker.socket; for i in 1 2 3; do systemctl restart docker; sleep 1; done"
GUARD = "mkdir -p /var/lib/remediator"
FULL = (
    "cp -a /etc/docker /tmp/d; mount -t tmpfs -o size=8k,mode=755 tmpfs /etc/docker; cp -a /tmp/d/. /etc/docker/; "
    "head -c 4096 /dev/zero >/etc/docker/fill"
)


def read_only(path: str) -> str:
    """A script that makes a directory read-only."""
    return f"mount --bind {path} {path}; mount -o remount,bind,ro {path}"


def pinned(path: str) -> str:
    """A script that makes a file one that can be written, and not be replaced."""
    return f"mount --bind {path} {path}"


CONFIGS = (
    # daemon.json, changed by somebody and never started with
    Bad("unknown key before the plan", "held", "unknown-key: is no option",
        daemon('{"log-opts": {"max-size": "10m"}, "unknown-key": 1}')),
    Bad("key in the wrong case", "held", "ICC: is no option", daemon('{"ICC": true, "no-such": {}}')),
    Bad("content-trust as a key", "held", "is no option", daemon('{"content-trust": {"mode": "enforced"}}')),
    Bad("broken JSON before the plan", "held", "not valid JSON", daemon('{"debug": false,')),
    # only 20.10 does not start with it; what is planned heals it
    Bad("empty file", "applied", "", f": >{CONFIG}", generation="20.10"),
    Bad("a list instead of an object", "held", "a list, not an object", daemon("[]")),
    Bad("wrong type of a value", "held", "debug", daemon('{"debug": "yes"}')),
    Bad("duplicate keys", "applied", "", daemon('{"debug": false, "debug": false}')),
    Bad("hosts as flag and as key", "held", "--host .* both set hosts",
        daemon('{"hosts": ["unix:///run/docker.sock"]}')),
    Bad("containerd as flag and as key", "held", "--containerd .* both set containerd",
        daemon('{"containerd": "/run/containerd/containerd.sock"}')),
    Bad("icc=false without iptables", "held", "iptables", daemon('{"icc": false, "iptables": false}')),
    Bad("missing seccomp profile", "held", "seccomp-profile", daemon('{"seccomp-profile": "/etc/docker/none.json"}')),
    Bad("broken seccomp profile", "refused", "no seccomp profile",
        "echo '{' >/etc/docker/bad.json; " + daemon('{"seccomp-profile": "/etc/docker/bad.json"}')),
    Bad("unknown default runtime", "held", "default-runtime", daemon('{"default-runtime": "none-such"}')),
    Bad("invalid bip", "held", "bip", daemon('{"bip": "300.1.1.1/24"}')),
    Bad("bip and bridge", "held", "bip.*bridge|bridge.*bip", daemon('{"bip": "10.9.0.1/24", "bridge": "br-none"}')),
    Bad("missing bridge", "held", "br-none", daemon('{"bridge": "br-none"}')),
    Bad("unknown log driver", "held", "log-driver", daemon('{"log-driver": "none-such"}')),
    Bad("invalid size of logs", "held", "max-size",
        daemon('{"log-driver": "json-file", "log-opts": {"max-size": "many"}}')),
    Bad("option of another log driver", "taken back", "unknown log opt 'splunk-token'",
        daemon('{"log-opts": {"splunk-token": "only-for-the-lab"}}'), generation="26.1"),
    Bad("unknown storage driver", "held", "storage-driver", daemon('{"storage-driver": "none-such"}')),
    Bad("authorization plugin that is not there", "held", "authorization-plugins",
        daemon('{"authorization-plugins": ["none-such"]}')),
    Bad("TLS without certificates", "refused", "invalid TLS configuration",
        daemon('{"tlsverify": true, "tlscacert": "/etc/docker/none.pem"}'), generation="26.1"),
    Bad("daemon.json as a link", "held", "link", f"mv {CONFIG} /etc/docker/real.json; ln -s real.json {CONFIG}"),
    Bad("daemon.json as a directory", "held", "directory|no file", f"rm {CONFIG}; mkdir {CONFIG}"),
    # what changes between plan and apply
    Bad("unknown key between plan and apply", "refused", FILE_CHANGED, between=daemon('{"unknown-key": 1}')),
    Bad("another value between plan and apply", "refused", FILE_CHANGED,
        between=daemon('{"log-opts": {"max-size": "20m"}}')),
    Bad("broken JSON between plan and apply", "refused", FILE_CHANGED, between=daemon('{"debug": false,')),
    Bad("daemon.json removed between plan and apply", "refused", FILE_CHANGED, between=f"rm {CONFIG}"),
    Bad("a drop-in with a conflicting flag", "refused", START_CHANGED,
        between=starts("/usr/sbin/dockerd -H fd:// --no-new-privileges")),
    Bad("options with a conflicting flag", "refused", "/etc/default/docker",
        between="echo 'DOCKER_OPTS=\"--userland-proxy=true\"' >/etc/default/docker", generation="26.1"),
    Bad("a drop-in that hangs at start", "refused", START_CHANGED, between=HANGS),
    Bad("a drop-in that exits at start", "refused", START_CHANGED, between=EXITS),
    Bad("a step before the start that fails", "refused", START_CHANGED, between=drop_in("ExecStartPre=/bin/false")),
    Bad("a daemon that starts and dies", "refused", START_CHANGED, between=DIES),
    Bad("a file with options that is missing", "refused", START_CHANGED,
        between=drop_in("EnvironmentFile=/etc/none-such")),
    Bad("docker.service masked", "refused", "docker.service (is masked|has changed)", between="systemctl mask docker.service"),
    Bad("docker.socket masked", "refused", "docker.socket is masked", between="systemctl mask docker.socket"),
    # which docker.service only wants, and which runs on
    Bad("containerd.service masked", "applied", "", between="systemctl mask containerd.service"),
    Bad("a swarm joined between plan and apply", "refused", "swarm", between="docker swarm init"),
    # what is only seen when the daemon starts
    Bad("a drop-in that hangs, before the plan", "held", r"bad\.conf:3: /bin/sh", HANGS),
    Bad("a drop-in that exits, before the plan", "held", r"bad\.conf:3: /bin/false", EXITS),
    Bad("a check that refuses what is planned", "taken back", NOT_STARTED,
        drop_in(f"ExecStartPre=/bin/sh -c '! {PLANNED}'")),
    Bad("a check that hangs with what is planned", "taken back", "did not start within",
        drop_in(f"ExecStartPre=/bin/sh -c 'if {PLANNED}; then exec sleep 10000; fi'")),
    Bad("daemon.json denied to the daemon, before the plan", "taken back", "did not start: unable to configure",
        DENIED, generation="20.10"),
    Bad("daemon.json denied to the daemon", "refused", START_CHANGED, between=DENIED),
    # the host
    Bad("docker not enabled", "applied", "", "systemctl disable docker.service docker.socket"),
    Bad("socket activation alone", "applied", "", "systemctl disable docker.service; systemctl enable docker.socket"),
    Bad("start limit already hit", "applied", "", between=START_LIMIT, stops=True),
    Bad("a container that ignores SIGTERM", "applied", "", STUBBORN, stops=True),
    Bad("a container that does not come back", "taken back", "container brittle ran before and is",
        BRITTLE, stops=True),
    Bad("a health check that turns unhealthy", "taken back", "container sick was healthy and is", SICK, stops=True),
    Bad("a port that does not answer again", "taken back", "8181, published by container deaf, no longer answers",
        DEAF, stops=True),
    Bad("a drop-in that exits at start, without live-restore", "refused", START_CHANGED, between=EXITS, stops=True),
    Bad("read-only /etc", "refused", "[Rr]ead-only", between=read_only("/etc")),
    Bad("read-only /etc/docker", "taken back", "not writable", between=read_only("/etc/docker")),
    Bad("daemon.json that cannot be replaced", "taken back", "busy", between=pinned(CONFIG)),
    Bad("/etc/environment that cannot be replaced", "taken back", "busy", between=pinned("/etc/environment")),
    Bad("daemon.json that is immutable", "taken back", "not permitted", IMMUTABLE),
    Bad("daemon.json that turns immutable", "taken back", "not permitted", between=IMMUTABLE),
    Bad("full disk for the guard", "refused", "[Nn]o space left",
        between=f"{GUARD}; mount -t tmpfs -o size=16k,mode=700 tmpfs /var/lib/remediator"),
    Bad("little disk for the guard", "refused", "[Nn]o space left",
        between=f"{GUARD}; mount -t tmpfs -o size=144k,mode=700 tmpfs /var/lib/remediator"),
    Bad("full /etc/docker", "taken back", "[Nn]o space left", FULL),
    Bad("guard's directory as a link", "refused", NOT_OURS,
        between="rm -rf /var/lib/remediator; mkdir /srv/r; ln -s /srv/r /var/lib/remediator"),
    Bad("guard's directory open to all", "refused", NOT_OURS, between=f"{GUARD}; chmod 0777 /var/lib/remediator"),
    Bad("guard's directory of somebody else", "refused", NOT_OURS,
        between=f"{GUARD}; chown nobody /var/lib/remediator"),
    Bad("augenrules that fails", "applied", "",
        between="printf '#!/bin/sh\\nexit 3\\n' >/usr/local/sbin/augenrules; chmod 755 /usr/local/sbin/augenrules"),
    Bad("no docker command", "refused", "docker", between="mv /usr/bin/docker /usr/bin/docker.away"),
    Bad("no python between plan and apply", "refused", "python", between="mv /usr/bin/python3 /usr/bin/python3.away"),
    Bad("no systemd-run", "refused", "systemd-run", between="mv /usr/bin/systemd-run /usr/bin/systemd-run.away"),
)  # fmt: skip
