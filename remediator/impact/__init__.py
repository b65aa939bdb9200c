"""What a change would break here, from evidence of the host as it runs; one module per subject."""

from .impact import adjusted
from .view import View

__all__ = ["View", "adjusted"]
