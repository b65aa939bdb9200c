"""Engines for tests, skipped with the reason where none can run; on CI that is a failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.engine.private import PrivateEngine, unavailable_reason


def _make_until_the_end() -> Iterator[Callable[..., PrivateEngine]]:
    if reason := unavailable_reason():
        if os.environ.get("CI") == "true":
            pytest.fail(f"engine tests could not run: {reason}")
        pytest.skip(reason)
    with ExitStack() as stack:

        def make(*arguments: Any, **more: Any) -> PrivateEngine:
            return stack.enter_context(PrivateEngine(*arguments, **more))

        yield make


@pytest.fixture
def engines() -> Iterator[Callable[..., PrivateEngine]]:
    """Makes private engines that end with the test."""
    yield from _make_until_the_end()


@pytest.fixture(scope="module")
def shared_engines() -> Iterator[Callable[..., PrivateEngine]]:
    """Makes private engines that end with the tests of a module, which tell one story of them."""
    yield from _make_until_the_end()
