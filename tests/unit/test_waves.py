"""In which order many hosts are changed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.apply import waves
from remediator.errors import InputError
from remediator.model import HostId
from remediator.plan.model import HostPlan, Steps


def host(name: str, manager: bool = False) -> HostPlan:
    """A plan of a host of which nothing matters here but its name and role."""
    return HostPlan(HostId(name), "", "", {}, {}, (), (), (), (), {}, Steps(), manager=manager)


@pytest.mark.parametrize(
    ("spec", "total", "ends"),
    [
        ("1,25%,100%", 8, [1, 2, 8]),
        ("1,10%,100%", 3, [1, 1, 3]),
        ("2", 5, [2, 5]),
        ("50%", 5, [3, 5]),
        ("10", 4, [4, 4]),
    ],
)
def test_waves_grow_and_end_with_all_hosts(spec: str, total: int, ends: list[int]) -> None:
    """Numbers and percentages, rounded up; what is left comes last."""
    found = waves.parse(spec, total)
    assert found[: len(ends)] == ends
    assert found[-1] == total


@pytest.mark.parametrize("spec", ["", "0", "x", "1,,2", "101%", "-1", "1.5"])
def test_what_is_no_list_of_waves_is_refused(spec: str) -> None:
    """The error names the word that is wrong."""
    with pytest.raises(InputError, match="--waves"):
        waves.parse(spec, 10)


@given(st.lists(st.booleans(), max_size=30), st.sampled_from(["1,25%,100%", "100%", "3,50%", "1,2,3"]))
def test_every_host_comes_once_and_managers_one_at_a_time(managers: list[bool], spec: str) -> None:
    """A wave never has two swarm managers, and no host is left out or done twice."""
    hosts = [host(f"h{index}", manager) for index, manager in enumerate(managers)]
    found = waves.split(hosts, spec)
    names = [name for wave in found for name in wave]
    assert sorted(names) == sorted(one.host.name for one in hosts)
    leading = {one.host.name for one in hosts if one.manager}
    assert all(len(leading.intersection(wave)) <= 1 for wave in found)
    assert all(found)
