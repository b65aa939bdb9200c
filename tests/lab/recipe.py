"""What is in a root tree: the engine generations, their packages and the files put on top."""

from __future__ import annotations

from dataclasses import dataclass

SYSTEM = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "openssh-client",
    "python3",
    "iptables",
    "iproute2",
    "iputils-ping",
    "procps",
    "auditd",
    "ca-certificates",
    "kmod",
    "sudo",
    "busybox-static",
)


@dataclass(frozen=True)
class Generation:
    """One engine generation: the Debian suite it lives in, and packages taken from a newer suite."""

    name: str
    suite: str
    packages: tuple[str, ...]
    newer_suite: str = ""
    newer_packages: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as it may stand in a host name."""
        return "d" + self.name.replace(".", "")


GENERATIONS = {
    generation.name: generation
    for generation in (
        Generation("20.10", "bookworm", (*SYSTEM, "docker.io")),
        Generation("26.1", "trixie", (*SYSTEM, "docker.io", "docker-cli")),
        Generation(
            "28.5",
            "trixie",
            SYSTEM,
            newer_suite="forky",
            newer_packages=(
                "docker.io",
                "docker-cli",
                "docker-compose",
                "docker-buildx",
                "containerd",
                "runc",
            ),
        ),
    )
}

# Units that a host of the lab cannot or must not run: they want hardware, or the machine's kernel.
MASKED = [
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-udev-settle.service",
    "systemd-udev-load-credentials.service",
    "systemd-logind.service",
    "getty.target",
    "console-getty.service",
    "getty@tty1.service",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount",
    "systemd-binfmt.service",
    "systemd-remount-fs.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "auditd.service",
    "audit-rules.service",
]

# path: (mode, text).  The user `admin` is there to test privilege escalation.
FILES = {
    "etc/sudoers.d/admin": (0o440, "admin ALL=(ALL) NOPASSWD: ALL\n"),
    "etc/ssh/sshd_config.d/lab.conf": (0o644, "PasswordAuthentication no\n"),
    # in memory: moving it to disk slows the boot of many hosts, and now and then fails under load
    "etc/systemd/journald.conf.d/lab.conf": (0o644, "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n"),
    "etc/machine-id": (0o444, ""),
    "etc/fstab": (0o644, ""),
}

# Documentation is of no use on a host that lives for a minute.
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")

IMAGE = "busybox:local"
IMAGE_TAR = "usr/share/remediator-lab/busybox.tar"
IMAGE_FILES = {
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
IMAGE_COMMAND = "/bin/idle"
# PID 1 of a container gets no default signal handlers: without the trap every stop takes ten seconds.
IDLE = "#!/bin/sh\ntrap 'exit 0' TERM INT\nsleep 1000000 &\nwait\n"
