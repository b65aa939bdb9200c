"""The part of the probe that reads who talks to whom, from /proc/PID/net of a container and of the host.

Standard library only and Python 3.8, like the probe. Nothing is sent, and no namespace is entered.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Any

from .usage import text

_MOST = 4 * 2**20  # bytes read of one table
_MOST_FLOWS = 500  # told of one network
_LISTEN = "0A"
# the states of connections that are, were within the last minute, or are being tried
_FLOWING = {"01", "02", "03", "04", "05", "06", "08", "09", "0B"}
_EXPECTED = ("lo", "eth")  # interfaces that the engine makes
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")


def _address(word: str) -> tuple[str, int]:
    """An address of the kernel's tables: groups of four bytes in the machine's order, and the port."""
    digits, _, port = word.partition(":")
    raw = b"".join(struct.pack("=I", int(digits[at : at + 8], 16)) for at in range(0, len(digits), 8))
    if len(raw) == 16 and raw[:12] == b"\0" * 10 + b"\xff\xff":
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


def _rows(path: str) -> list[list[str]]:
    return [words for words in (one.split() for one in text(path, _MOST).splitlines()[1:]) if len(words) > 3]


def rows(folder: str, tables: list[str]) -> list[tuple[Any, ...]]:
    """The sockets of tables as (protocol, address, port, peer, its port, state, inode)."""
    found = []
    for table in tables:
        for words in _rows(folder + table):
            try:
                found.append((table[:3], *_address(words[1]), *_address(words[2]), words[3], words[9]))
            except (ValueError, struct.error, IndexError):
                continue
    return found


def connections(sockets: list[tuple[Any, ...]]) -> tuple[list[list[Any]], list[list[Any]]]:
    """What listens, as [protocol, address, port], and who is connected: [protocol, address, port, peer, its port].

    Of the two ports of a connection the client's is of no interest, and told as 0: that of the peer where the
    own port listens, else the larger one.
    """
    listens = {(one[0], one[1], one[2]) for one in sockets if not one[4] and (one[5] == _LISTEN or one[0] == "udp")}
    served = {(name, port) for name, _, port in listens}
    flows = set()
    for name, here, port, there, other, state, _ in sockets:
        if not other or state not in (_FLOWING if name == "tcp" else {"01"}):
            continue
        if (name, port) in served:
            flows.add((name, here, port, there, 0))
        else:
            flows.add((name, here, 0 if port > other else port, there, other))
    return [list(one) for one in sorted(listens)], [list(one) for one in sorted(flows)[:_MOST_FLOWS]]


def tables(folder: str) -> list[str]:
    """The tables that have something in them: reading those of TCP takes milliseconds on a large machine."""
    counts = text(folder + "sockstat") + text(folder + "sockstat6")
    some = {}
    for line in counts.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        some[name] = any(
            int(words[at + 1]) for at in range(0, len(words) - 1, 2) if words[at] in ("inuse", "tw", "orphan")
        )
    found = []
    if some.get("TCP", True) or some.get("TCP6", True):
        found += ["tcp", "tcp6"]
    return found + [one for one, name in (("udp", "UDP"), ("udp6", "UDP6")) if some.get(name, True)]


def neighbours(folder: str) -> list[str]:
    """The addresses that a network namespace has exchanged packets with on its links (ARP, complete entries)."""
    return sorted(words[0] for words in _rows(folder + "arp") if words[2] == "0x2")


def look(pid: int, wanted: list[str]) -> dict[str, Any]:
    """What a container does on its network, of what is quick to see: neighbours, and what only NET_ADMIN can make.

    Neighbours are told as far as they are among the wanted addresses.
    """
    folder = "/proc/%d/net/" % pid
    names = [one.partition(":")[0].strip() for one in text(folder + "dev").splitlines()[2:]]
    made = set(text(folder + "ip_tables_names").split()) - {"nat"}  # the engine's own DNS makes rules in nat
    routes = [words for words in _rows(folder + "route") if words[2] != "00000000" and words[1] != "00000000"]
    listens, _ = connections(rows(folder, ["udp", "udp6"]))
    return {
        "datagrams": listens,
        "neighbours": [one for one in neighbours(folder) if one in wanted],
        "interfaces": [one for one in names if one and not one.startswith(_EXPECTED)],
        "routes": len(routes),
        "tables": sorted(made),
        "raw": any(len(text(folder + one).splitlines()) > 1 for one in ("raw", "raw6", "packet")),
    }


def talk(pid: int, wanted: list[str]) -> dict[str, Any]:
    """What a container listens on, and who of the wanted addresses it is connected to."""
    folder = "/proc/%d/net/" % pid
    return _told(rows(folder, tables(folder)), wanted)


def talk_on_host(sockets: list[tuple[Any, ...]], own: set[str], wanted: list[str]) -> dict[str, Any]:
    """The same of a container on the host's network: of the host's sockets those of its processes, by inode."""
    return _told([one for one in sockets if one[-1] in own], wanted)


def _told(sockets: list[tuple[Any, ...]], wanted: list[str]) -> dict[str, Any]:
    listens, flows = connections(sockets)
    return {"listens": listens, "peers": [one for one in flows if one[3] in wanted]}


def of_host() -> list[tuple[Any, ...]]:
    """The sockets of the host's own network."""
    return rows("/proc/net/", ["tcp", "tcp6", "udp", "udp6"])


def host_addresses() -> list[str]:
    """The IPv4 addresses of this host, and ::1 where it has IPv6."""
    found = set(_LOCAL.findall(text("/proc/net/fib_trie", _MOST)))
    loopback = "0" * 31 + "1 " in text("/proc/net/if_inet6")
    return sorted(found) + (["::1"] if loopback else [])


def tracked(wanted: list[str]) -> list[list[Any]]:
    """The flows between wanted addresses that the firewall remembers, as [protocol, source, peer, its port]."""
    found = set()
    for line in text("/proc/net/nf_conntrack", _MOST).splitlines():
        words = dict(reversed([one.split("=", 1) for one in line.split() if "=" in one]))
        if words.get("src") in wanted and words.get("dst") in wanted and words.get("dport", "").isdigit():
            found.add((line.split()[2], words["src"], words["dst"], int(words["dport"])))
    return [list(one) for one in sorted(found)]
