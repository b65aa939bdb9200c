"""Containers as people start them who want it to work now: something to find, and something to break."""

from __future__ import annotations

from tests.lab.host import Host

SERVE = ("sh", "-c", "echo hello >/data/index.html; exec httpd -f -p 8080 -h /data")
# says in its log whether the other container can be reached over docker0
GET = "timeout 2 wget -q -O /dev/null http://{address}:8080/"
ASK = f"while :; do {GET} && echo reached || echo cut off; sleep 1; done"


def run(host: Host) -> None:
    """Start seven careless containers on a host that runs."""
    host.run_container("web", "--restart", "always", "--publish", "8080:8080", command=SERVE)
    address = host.docker("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web").stdout.strip()
    host.run_container("shop", "--restart", "always", command=("sh", "-c", ASK.format(address=address)))
    host.run_container("agent", "--privileged", "--pid", "host", "--volume", "/:/host", "--restart", "always")
    host.run_container("monitor", "--network", "host", "--ipc", "host", "--restart", "unless-stopped")
    socket = "/var/run/docker.sock:/var/run/docker.sock"
    host.run_container("manager", "--volume", socket, "--restart", "always")
    options = (
        "--env",
        "DB_PASSWORD=only-for-the-lab",
        "--volume",
        "dbdata:/data",
        "--restart",
        "on-failure:20",
    )
    host.run_container("database", *options)
    # nobody will bring this one back after a restart of the engine, and it does not listen to SIGTERM
    unconfined = ("--cap-add", "ALL", "--security-opt", "seccomp=unconfined")
    host.run_container("batch", *unconfined, command=("sleep", "1000000"))
