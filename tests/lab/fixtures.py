"""Pytest fixtures for tests on real servers; a plugin: `pytest_plugins = ["tests.lab.fixtures"]`.

Where no lab can run, such tests are skipped with the reason; with CI=true they fail instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.lab.host import Host
from tests.lab.lab import NEWEST_SETTLED, Lab, sweep
from tests.lab.machine import lab_unavailable_reason


class MakeHost(Protocol):
    """Gives a fresh, ready server."""

    def __call__(self, generation: str = NEWEST_SETTLED, name: str = "") -> Host: ...


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "lab: boots real servers on this machine; needs root")


@pytest.fixture(scope="session")
def lab_machine() -> None:
    """A machine on which a lab can run, rid of what killed test runs left."""
    if reason := lab_unavailable_reason():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no lab on this machine, and in CI there must be one: {reason}")
        pytest.skip(f"no lab on this machine: {reason}")
    sweep()


@pytest.fixture(scope="session")
def lab(lab_machine: None) -> Iterator[Lab]:
    """A lab for the whole test run, empty at first."""
    with Lab.create() as made:
        yield made


@pytest.fixture
def lab_host(lab: Lab) -> Iterator[MakeHost]:
    """A maker of fresh servers, which are gone after the test."""
    hosts: list[Host] = []

    def make(generation: str = NEWEST_SETTLED, name: str = "") -> Host:
        host = lab.host(name, generation, start=False)
        hosts.append(host)  # before it boots, so that one which fails to is taken away too
        host.start()
        host.wait_ready()
        return host

    yield make
    for host in hosts:
        lab.remove(host)
