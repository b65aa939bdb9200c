"""Logs: structlog to standard error, for people on a terminal and as JSON lines elsewhere."""

from __future__ import annotations

import logging
import sys


def configure(verbose: bool = False) -> None:
    """Send log lines to standard error, from level info (debug with `verbose`)."""
    import structlog

    terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
