"""The lab's fixtures for the tests of this folder."""

from tests.lab.fixtures import lab, lab_host, lab_machine, pytest_configure
from tests.lab.server import made, server

__all__ = ["lab", "lab_host", "lab_machine", "made", "pytest_configure", "server"]
