"""Compose files: read as a project, judged as the containers they make, patched in place. All pure.

project = compose.load(texts, config_files, directory, variables)
document, unknown = compose.document(project, service)
file, line = compose.located(project, service, "/HostConfig/Privileged")
patched = compose.patch(project, service, changes)
"""

from .document import lines, located
from .document import read as document
from .patching import Patched, patch
from .project import Project, Service, load
from .variables import env_file

__all__ = ["Patched", "Project", "Service", "document", "env_file", "lines", "load", "located", "patch"]
