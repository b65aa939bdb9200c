"""Plans for very many recorded hosts: states are read, planned and written one by one, in processes.

Memory stays the same however many hosts there are: a state is one line of a file, its plan one element of
the plan file's array of hosts, and only a summary of it is kept.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import IO, Final

import msgspec

from ..baseline import Baseline
from ..errors import InputError
from ..model import Disruption, HostState, Model
from ..patch import digest
from .model import HostPlan, Plan, Policy
from .plan import host_digest, plan_host

_CHUNK: Final = 16  # lines a process takes at a time
_AHEAD: Final = 3  # chunks a process may be ahead

_baseline: Baseline
_policy: Policy


class Summary(Model, frozen=True):
    """What is kept of a host's plan: its counts, and how many changes it has by disruption and by control."""

    name: str
    counts: dict[str, int]
    disruption: dict[str, int]
    controls: dict[str, int]
    action: str


class Planned(Model, frozen=True):
    """A host's plan as JSON, its digest and its summary."""

    plan: bytes
    digest: str
    summary: Summary


def summarise(host: HostPlan) -> Summary:
    """The summary of a host's plan."""
    levels = [change.disruption for change in host.changes]
    disruption = {one.value: levels.count(one) for one in Disruption}
    controls: dict[str, int] = {}
    for change in host.changes:
        controls[change.control] = controls.get(change.control, 0) + 1
    return Summary(host.host.name, host.counts, disruption, controls, host.steps.activation.action)


def _plan(line: bytes, baseline: Baseline, policy: Policy) -> Planned:
    host = plan_host(msgspec.json.decode(line, type=HostState), baseline, policy)
    encoded = msgspec.json.encode(host)
    return Planned(encoded, host_digest(encoded), summarise(host))


def _start(baseline: bytes, policy: Policy) -> None:
    global _baseline, _policy
    _baseline, _policy = msgspec.msgpack.decode(baseline, type=Baseline), policy
    gc.disable()  # plans have no cycles


def _work(lines: list[bytes]) -> list[Planned]:
    return [_plan(line, _baseline, _policy) for line in lines]


def plans(lines: Iterable[bytes], baseline: Baseline, policy: Policy, processes: int = 0) -> Iterator[Planned]:
    """The plans of states, one JSON document a line, in their order.

    Raises InputError for a line that is no state.
    """
    source = iter(line for line in lines if line.strip())
    count = processes or os.cpu_count() or 1
    with ProcessPoolExecutor(count, initializer=_start, initargs=(msgspec.msgpack.encode(baseline), policy)) as pool:
        waiting: list[Future[list[Planned]]] = []
        try:
            while True:
                while len(waiting) < count * _AHEAD and (chunk := list(islice(source, _CHUNK))):
                    waiting.append(pool.submit(_work, chunk))
                if not waiting:
                    return
                yield from waiting.pop(0).result()
        except msgspec.DecodeError as error:
            raise InputError(f"not a collected state: {error}", "`remediator collect -i` writes one a line") from error
        finally:
            for one in waiting:
                one.cancel()


def write(file: IO[bytes], head: Plan, hosts: Iterable[Planned]) -> Generator[Summary, None, str]:
    """Write a plan file as its hosts come, sealed at the end; yields their summaries and returns its digest."""
    bare = msgspec.structs.replace(head, digest="", hosts=())
    opening, closing = msgspec.json.encode(bare).split(b'"hosts":[]')
    file.write(opening + b'"hosts":[')
    digests: list[str] = []
    for one in hosts:
        file.write((b",\n" if digests else b"\n") + one.plan)
        digests.append(one.digest)
        yield one.summary
    seal = digest([bare, digests])
    file.write(b"\n]" + closing[:-1] + b',"digest":"' + seal.encode() + b'"}\n')
    return seal
