"""Bad configurations, as data: dockerd does not start with them, or an apply does not get through."""

from __future__ import annotations

from dataclasses import dataclass

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
    """One bad configuration: what is done before the plan is made, and between plan and apply, by sh.

    With `stops` the plan leaves live-restore out, and the restart stops all containers.
    """

    name: str
    before: str = ""
    between: str = ""
    stops: bool = False


HANG = drop_in("ExecStart=\nExecStart=/bin/sh -c 'exec sleep 10000'")
STUBBORN = "docker run -d --name stubborn --restart always busybox:local sleep 10000"
# these fail at their second start alone: that by the restart, not that by the way back
COUNT = "echo 1 >>/count; n=$(cat /count | wc -l)"
RUN = "touch /count; docker run -d -v /count:/count"

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
    Bad("start limit already hit", between="for i in 1 2 3; do systemctl restart docker; sleep 1; done", stops=True),
    Bad("a container that ignores SIGTERM", STUBBORN, stops=True),
    Bad("a container that does not come back", f"{RUN} --name brittle busybox:local sh -c '{COUNT}; [ $n -ne 2 ] && exec sleep 10000'", stops=True),
    Bad(
        "a health check that turns unhealthy",
        f"{RUN} --name sick --restart always --health-cmd 'test $(cat /count | wc -l) -ne 2' --health-interval 1s --health-retries 1 "
        f"busybox:local sh -c '{COUNT}; exec sleep 10000'; sleep 5",
        stops=True,
    ),
    Bad(
        "a port that does not answer again",
        f"{RUN} --name deaf --restart always -p 8181:8080 busybox:local sh -c '{COUNT}; [ $n -eq 2 ] && exec sleep 10000; exec httpd -f -p 8080'; sleep 2",
        stops=True,
    ),
    Bad("a drop-in that exits at start, without live-restore", between=drop_in("ExecStart=\nExecStart=/bin/false"), stops=True),
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
