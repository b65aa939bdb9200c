"""Command lines of docker run: read exactly or refused, and changed in the words concerned alone."""

from __future__ import annotations

from typing import Any, Final

import pytest

from remediator.errors import InputError
from remediator.kinds import docker_run, unit
from remediator.model import Change, Disruption, FileEdit, Safety
from tests.unit.host import file

PATH: Final = "/etc/systemd/system/web.service"
DROP_IN: Final = "/etc/systemd/system/web.service.d/50-remediator.conf"
START: Final = "/usr/bin/docker run "


def change(path: str, before: Any, after: Any) -> Change:
    """A change at a path of a container's document."""
    return Change("container", "web", path, "x", Safety.UNSAFE, Disruption.RECREATE, before, after)


def edited(options: str, *changes: Change, **files: dict[str, Any]) -> FileEdit:
    """The edit of the unit whose command line has these options."""
    texts: dict[str, dict[str, Any]] = {PATH: file(f"[Service]\nExecStart={START}{options}\n"), **files}
    given = {"unit": "web.service", "paths": [one for one in texts if one != DROP_IN], "drop_in": DROP_IN}
    return unit.edit({**given, "paths": list(texts)}, texts, "web", f"{PATH}:2", changes)


def line(options: str, *changes: Change) -> str:
    """The options in the drop-in that makes the changes."""
    return edited(options, *changes).content.partition(f"ExecStart={START}")[2].rstrip("\n")


PORTS: Final = [{"HostIp": "", "HostPort": 80, "ContainerPort": "80/tcp"}]
LOCAL: Final = [{**PORTS[0], "HostIp": "127.0.0.1"}]
BIND: Final = {"Type": "bind", "Source": "/d", "Destination": "/d", "RW": True, "Propagation": "rshared"}


@pytest.mark.parametrize(
    ("before", "made", "after"),
    [
        ("--rm --privileged app", ("Privileged", True, False), "--rm app"),
        ("--rm --privileged=true app", ("Privileged", True, False), "--rm app"),
        ("--privileged --rm app sh", ("Privileged", True, False), "--rm app sh"),
        ("--rm \\\n  --privileged \\\n  app", ("Privileged", True, False), "--rm \\\n  app"),
        ("--rm app --privileged", ("Privileged", True, False), "--rm app --privileged"),
        ("--rm app", ("ReadonlyRootfs", False, True), "--read-only --rm app"),
        (
            "--rm --cap-add SYS_TIME --cap-add=cap_net_admin app",
            ("CapAdd", ["CAP_SYS_TIME", "CAP_NET_ADMIN"], ["CAP_NET_ADMIN"]),
            "--rm --cap-add=cap_net_admin app",
        ),
        (
            "--rm --security-opt seccomp:unconfined app",
            ("SecurityOpt", ["seccomp=unconfined"], ["no-new-privileges"]),
            "--rm --security-opt=no-new-privileges app",
        ),
        (
            "--rm --security-opt seccomp=/p.json app",
            ("SecurityOpt", ["seccomp=(profile)"], ["seccomp=(profile)", "no-new-privileges"]),
            "--rm --security-opt seccomp=/p.json --security-opt=no-new-privileges app",
        ),
        ("--rm --pid host app", ("PidMode", "host", ""), "--rm app"),
        ("--rm --ipc=host app", ("IpcMode", "host", "private"), "--rm --ipc=private app"),
        ("--rm --net host app", ("NetworkMode", "host", "web"), "--rm --network=web app"),
        ("-m 1g --rm app", ("Memory", 2**30, 2**29), f"--memory={2**29} --rm app"),
        ("-dit -c 1024 --rm app", ("CpuShares", 1024, 512), "-dit --cpu-shares=512 --rm app"),
        (
            "--rm --restart always app",
            ("RestartPolicy", {}, {"Name": "on-failure", "MaximumRetryCount": 5}),
            "--rm --restart=on-failure:5 app",
        ),
        ("--rm --tmpfs /a app", ("Tmpfs", {"/a": ""}, {"/a": "", "/tmp": ""}), "--tmpfs=/tmp --rm --tmpfs /a app"),
        ("--rm --device /dev/kvm --device=/dev/fuse app", ("Devices", [1, 2], []), "--rm app"),
    ],
)
def test_settings_are_changed_in_their_words(before: str, made: tuple[str, Any, Any], after: str) -> None:
    """All else keeps its spelling."""
    assert line(before, change(f"/HostConfig/{made[0]}", *made[1:])) == after


@pytest.mark.parametrize(
    ("before", "made", "after"),
    [
        ("-p 80:80", change("/PublishedPorts", PORTS, LOCAL), "--publish=127.0.0.1:80:80"),
        ("-p80:80/tcp", change("/PublishedPorts", PORTS, LOCAL), "--publish=127.0.0.1:80:80"),
        (
            "-v /d:/d:rw,rshared",
            change("/Mounts", [BIND], [{**BIND, "Propagation": "rslave"}]),
            "--volume=/d:/d:rw,rslave",
        ),
        (
            "--mount type=bind,src=/d,dst=/d,bind-propagation=rshared",
            change("/Mounts", [BIND], [{**BIND, "Propagation": "rslave"}]),
            "--mount=type=bind,src=/d,dst=/d,bind-propagation=rslave",
        ),
        (
            "--init",
            change("/Config/Healthcheck", [], ["CMD-SHELL", 'a "b" 100% $X']),
            '"--health-cmd=a \\"b\\" 100%% $$X"',
        ),
    ],
)
def test_more_than_single_values_are_changed(before: str, made: Change, after: str) -> None:
    """Ports, mounts and health checks, quoted as a unit wants it."""
    assert after in line(f"--rm {before} app", made)


def test_the_image_is_pinned() -> None:
    """The word of the image is another then, and its command stays."""
    assert (
        line("--rm app:1 sh -c x", change("/Config/Image", "app:1", "app:1@sha256:00"))
        == "--rm app:1@sha256:00 sh -c x"
    )


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ("--rm --no-such app", change("/HostConfig/Privileged", True, False)),
        ("--rm $OPTIONS app", change("/HostConfig/Privileged", True, False)),
        ("--rm ${IMAGE} sh", change("/HostConfig/Privileged", True, False)),
        ("--rm 'app", change("/HostConfig/Privileged", True, False)),
        ("--rm app ; docker run x", change("/HostConfig/Privileged", True, False)),
        ("--rm", change("/HostConfig/Privileged", True, False)),
        ("--name web app", change("/HostConfig/Privileged", True, False)),
        ("--rm -p 80-90:80-90 app", change("/PublishedPorts", PORTS, LOCAL)),
        ("--rm app", change("/HostConfig/Links", [], ["a"])),
        ("--rm app", change("/Config/Healthcheck", [], ["CMD", "x"])),
        ("--rm app", change("/Config/Healthcheck", [], ["CMD-SHELL", "a\nb"])),
        ("--rm -v /x:/x app", change("/Mounts", [BIND], [{**BIND, "Propagation": "rslave"}])),
        ("--rm app", change("/Mounts", [BIND], [{**BIND, "Source": "/other"}])),
    ],
)
def test_what_cannot_be_changed_exactly_is_refused(options: str, made: Change) -> None:
    """Rather no change than a guess."""
    with pytest.raises(InputError):
        edited(options, made)


def test_a_later_drop_in_would_win() -> None:
    """A drop-in that is read after ours is not argued with."""
    late = "/etc/systemd/system/web.service.d/90-late.conf"
    content = f"[Service]\nExecStart=\nExecStart={START}--rm --privileged app\n"
    texts = {PATH: file("[Service]\n"), late: file(content)}
    given = {"unit": "web.service", "paths": list(texts), "drop_in": DROP_IN}
    with pytest.raises(InputError, match="would win"):
        unit.edit(given, texts, "web", f"{late}:3", [change("/HostConfig/Privileged", True, False)])


def test_our_own_drop_in_is_edited_again() -> None:
    """A second change goes where the first one is."""
    first = edited("--rm --privileged app", change("/HostConfig/Privileged", True, False))
    texts = {PATH: file(f"[Service]\nExecStart={START}--rm --privileged app\n"), DROP_IN: file(first.content)}
    given = {"unit": "web.service", "paths": list(texts), "drop_in": DROP_IN}
    second = unit.edit(given, texts, "web", f"{DROP_IN}:4", [change("/HostConfig/ReadonlyRootfs", False, True)])
    assert second.content == first.content.replace("--rm app", "--read-only --rm app")
    assert second.before == first.after


def test_all_lines_of_a_key_are_repeated() -> None:
    """A reset takes every line of its key away, so that all of them are in the drop-in."""
    remove, create = "-/usr/bin/docker rm -f web", "/usr/bin/docker create --privileged --name web app"
    text = f"[Service]\nExecStartPre={remove}\nExecStartPre={create}\nExecStart=/usr/bin/docker start -a web\n"
    given = {"unit": "web.service", "paths": [PATH], "drop_in": DROP_IN}
    found = unit.edit(given, {PATH: file(text)}, "web", f"{PATH}:3", [change("/HostConfig/Privileged", True, False)])
    assert found.content.splitlines()[1:] == [
        "[Service]",
        "ExecStartPre=",
        "ExecStartPre=-/usr/bin/docker rm -f web",
        "ExecStartPre=/usr/bin/docker create --name web app",
    ]


def test_short_options_are_read_as_docker_reads_them() -> None:
    """Switches may be written together, and the last letter may take a value."""
    command = docker_run.parse(["docker", "run", "-itp80:80", "-eA=b", "-m", "1g", "--", "app", "-x"], 2)
    assert [(one.name, one.value) for one in command.options] == [
        ("interactive", ""),
        ("tty", ""),
        ("publish", "80:80"),
        ("env", "A=b"),
        ("memory", "1g"),
    ]
    assert command.image == 7
