"""An Ansible inventory for a lab, usable from the machine's own network namespace."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tests.lab.host import Host


def write(directory: Path, netns: Path, hosts: Iterable[Host], user: str) -> Path:
    """Write the inventory of these hosts for one user; host keys stay checked."""
    # the only way in: ssh talks through a process that stands inside the lab's network namespace
    proxy = f"nsenter --net={netns} busybox nc %h %p"
    ssh = {
        "ProxyCommand": f"'{proxy}'",
        "UserKnownHostsFile": str(directory / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    sockets = directory / "cp"  # of its own: the next lab has the same addresses
    sockets.mkdir(mode=0o700, exist_ok=True)
    variables = {
        "ansible_user": user,
        "ansible_ssh_private_key_file": str(directory / "id_ed25519"),
        "ansible_ssh_common_args": " ".join(f"-o {key}={value}" for key, value in ssh.items()),
        "ansible_control_path_dir": str(sockets),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    if user != "root":
        variables |= {"ansible_become": "true", "ansible_become_method": "sudo"}
    lines = ["all:", "  vars:"]
    lines += [f"    {key}: {json.dumps(value)}" for key, value in variables.items()]
    lines += ["  hosts:"]
    for host in hosts:
        own = {"ansible_host": host.ip, "lab_generation": host.generation}
        lines += [f"    {host.name}: {json.dumps(own)}"]
    path = directory / ("inventory.yml" if user == "root" else f"inventory-{user}.yml")
    path.write_text("\n".join(lines) + "\n")
    return path
