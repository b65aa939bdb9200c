"""The probe's look at what runs: layers, cgroups and sockets, on files as the kernel and the engine write them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from remediator.collect import layers, processes, sockets, usage

NOW = layers.Deadline(3600)


@pytest.fixture
def overlay(tmp_path: Path) -> tuple[Path, Path]:
    """The upper and the lower directory of a container whose image has /etc/passwd, /tmp and /srv."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    upper.mkdir()
    for name in ("etc", "tmp", "srv"):
        (lower / name).mkdir(parents=True)
    (lower / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    return upper, lower


def write(root: Path, *names: str) -> None:
    """Files in a layer."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def written(overlay: tuple[Path, Path], *given: str, home: str = "") -> list[str] | str:
    """What is said to be written."""
    return layers.written(str(overlay[0]), [str(overlay[1])], list(given), home, NOW)


def test_a_container_that_wrote_nothing(overlay: tuple[Path, Path]) -> None:
    """An empty upper layer is an empty list, not an unknown one."""
    assert written(overlay) == []


def test_files_and_new_directories_are_told(overlay: tuple[Path, Path]) -> None:
    """Files in directories of the image one by one, directories that are new as a whole."""
    write(overlay[0], "etc/passwd", "srv/cache/a", "srv/cache/b", "tmp/x", "new/deep/file")
    assert written(overlay) == ["/etc/passwd", "/new", "/srv/cache", "/tmp/x"]
    places = layers.places(["/etc/passwd", "/new", "/srv/cache", "/tmp/x"], str(overlay[0]), [str(overlay[1])])
    assert places == {"bare": ["/new", "/srv/cache", "/tmp"], "filled": ["/etc"]}


def test_a_file_that_is_gone_again_leaves_its_directory(overlay: tuple[Path, Path]) -> None:
    """The overlay copies a directory up when something is made in it, and keeps it."""
    (overlay[0] / "tmp").mkdir()
    assert written(overlay) == ["/tmp"]


def test_a_removed_file_of_the_image_is_told(overlay: tuple[Path, Path]) -> None:
    """A whiteout is a write as well."""
    if os.geteuid():
        pytest.skip("makes a device node: needs root")
    (overlay[0] / "etc").mkdir()
    os.mknod(overlay[0] / "etc/passwd", 0o020000, 0)
    assert written(overlay) == ["/etc/passwd"]


def test_what_the_engine_makes_is_not_told(overlay: tuple[Path, Path]) -> None:
    """Mount points of volumes and the working directory are no writes of the container, what is beside them is."""
    for name in ("srv/app/data", "work/dir"):
        (overlay[0] / name).mkdir(parents=True)
    assert written(overlay, "/srv/app/data", home="/work/dir") == []
    write(overlay[0], "srv/app/log", "work/dir/file")
    assert written(overlay, "/srv/app/data", home="/work/dir") == ["/srv/app/log", "/work/dir/file"]


def test_many_paths_are_told_by_their_directories(overlay: tuple[Path, Path]) -> None:
    """The list has an end, and still covers everything."""
    write(overlay[0], *(f"srv/{number}" for number in range(300)), "tmp/x")
    assert written(overlay) == ["/srv", "/tmp"]


def test_time_that_is_over_makes_it_unknown(overlay: tuple[Path, Path]) -> None:
    """A layer that is not looked at to the end is not said to be empty."""
    found = layers.written(str(overlay[0]), [], [], "", layers.Deadline(-1))
    assert found == "too much to look at in time"
    assert layers.setuid(str(overlay[1]), layers.Deadline(-1)) is None


def test_links_in_a_layer_are_not_followed(overlay: tuple[Path, Path]) -> None:
    """A hostile layer leads nowhere."""
    (overlay[0] / "root").symlink_to("/")
    assert written(overlay) == ["/root"]
    assert layers.setuid(str(overlay[0]), NOW) == []


@pytest.mark.parametrize(("mode", "found"), [(0o4755, True), (0o2755, True), (0o755, False), (0o4644, False)])
def test_setuid_programs_are_found(overlay: tuple[Path, Path], mode: int, found: bool) -> None:
    """Programs with the setuid or setgid bit, and not files that cannot be run."""
    write(overlay[1], "bin/helper")
    (overlay[1] / "bin/helper").chmod(mode)
    assert layers.setuid(str(overlay[1]), NOW) == (["/bin/helper"] if found else [])


@pytest.mark.parametrize("version", [1, 2])
def test_use_is_measured_in_both_kinds_of_cgroups(tmp_path: Path, version: int) -> None:
    """Memory and of it file cache, peaks, OOM kills, tasks and CPU time."""
    files = {
        1: {
            "memory.usage_in_bytes": "1000", "memory.max_usage_in_bytes": "5000", "memory.limit_in_bytes": "9000",
            "memory.stat": "cache 7\ntotal_rss 1\ntotal_inactive_file 300\ntotal_active_file 100\n",
            "memory.oom_control": "oom_kill_disable 0\noom_kill 2\n", "pids.current": "3", "pids.peak": "8",
            "cpuacct.usage": "2500000000", "cpu.stat": "nr_throttled 4\n",
        },
        2: {
            "memory.current": "1000", "memory.peak": "5000", "memory.max": "9000",
            "memory.stat": "anon 1\ninactive_file 300\nactive_file 100\n", "memory.events": "oom_kill 2\n",
            "pids.current": "3", "pids.peak": "8", "cpu.stat": "usage_usec 2500000\nnr_throttled 4\n",
        },
    }[version]  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    names = ("memory", "pids", "cpu", "cpuacct") if version == 1 else ("",)
    assert usage.measure(dict.fromkeys(names, f"{tmp_path}/")) == {
        "memory": 1000, "memory_peak": 5000, "memory_limit": 9000, "memory_cache": 400, "oom_kills": 2, "pids": 3,
        "pids_peak": 8, "cpu_seconds": 2.5, "cpu_throttled": 4,
    }  # fmt: skip


def test_a_cgroup_that_is_gone_measures_nothing() -> None:
    """A container may end while it is looked at."""
    found = usage.measure({})
    assert (found["memory"], found["pids"]) == (0, 0)
    assert "pids_peak" not in found


TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 020011AC:1F90 030011AC:9C40 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   2: 020011AC:9C41 030011AC:0050 06 00000000:00000000 03:00000A0F 00000000     0        0 0 3 0
   3: 020011AC:9C42 030011AC:0051 07 00000000:00000000 03:00000A0F 00000000     0        0 0 3 0
 torn
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:2000 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 13 1 0
   1: 0000000000000000FFFF0000020011AC:1F90 0000000000000000FFFF0000030011AC:9C43 01 0:0 00:0 0 0 0 14 1 0
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the table is that of a little-endian machine")
def test_sockets_are_read_from_the_kernels_tables(tmp_path: Path) -> None:
    """Listeners, connections of now and of the last minute without the clients' ports; a torn line is left out."""
    (tmp_path / "tcp").write_text(TCP)
    (tmp_path / "tcp6").write_text(TCP6)
    listens, flows = sockets.connections(sockets.rows(f"{tmp_path}/", ["tcp", "tcp6"]))
    assert listens == [["tcp", "0.0.0.0", 8080], ["tcp", "::1", 8192]]  # noqa: S104
    assert flows == [
        ["tcp", "172.17.0.2", 0, "172.17.0.3", 80],
        ["tcp", "172.17.0.2", 8080, "172.17.0.3", 0],
    ]


@pytest.mark.parametrize(
    ("counts", "names"),
    [
        ("TCP: inuse 0 orphan 0 tw 0 alloc 9 mem 0\nTCP6: inuse 0\nUDP: inuse 0\nUDP6: inuse 0\n", []),
        (
            "TCP: inuse 0 orphan 0 tw 3 alloc 9 mem 0\nTCP6: inuse 0\nUDP: inuse 1\nUDP6: inuse 0\n",
            ["tcp", "tcp6", "udp"],
        ),
        ("TCP: inuse 0 orphan 0 tw 0\nTCP6: inuse 1\nUDP: inuse 0\nUDP6: inuse 0\n", ["tcp", "tcp6"]),
        ("", ["tcp", "tcp6", "udp", "udp6"]),
    ],
)
def test_empty_tables_are_not_read(tmp_path: Path, counts: str, names: list[str]) -> None:
    """The counts of a network namespace say which tables are worth the time."""
    (tmp_path / "sockstat").write_text(counts)
    assert sockets.tables(f"{tmp_path}/") == names


def test_a_process_is_looked_at_from_outside() -> None:
    """Users, open devices and whether SIGTERM is handled, of a real process, and never its environment."""
    script = "import signal, time; signal.signal(15, lambda *a: None); print('up', flush=True); time.sleep(60)"
    environment = {**os.environ, "SECRET_OF_THE_TEST": "hunter2"}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        found = processes.look(child.pid, [child.pid], [])
        child.kill()
    assert found["uids"] == [os.geteuid()]
    assert found["handles_sigterm"] is True
    assert (found["devices"], found["setuid"], found["risen"]) == ([], [], [])
    assert "hunter2" not in repr(found)


def test_a_process_that_is_gone_is_nothing() -> None:
    """What ends while it is looked at gives no error."""
    found = processes.look(2**22 + 1, [2**22 + 1], [])
    assert (found["uids"], found["handles_sigterm"]) == ([], False)
