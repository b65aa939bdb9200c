"""Reading a saved plan: what is damaged, altered, or past its time is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ..errors import InputError, PlanRefusedError
from ..model import FORMAT_VERSION
from .model import Plan
from .plan import seal


def load(path: Path) -> Plan:
    """The plan in a file.

    Raises InputError for what is no plan, PlanRefusedError for one whose bytes were altered.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    try:
        version = msgspec.json.decode(data).get("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise InputError(f"{path}: is of format version {version}, this program knows {FORMAT_VERSION}")
        plan = msgspec.json.decode(data, type=Plan)
    except (msgspec.DecodeError, AttributeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a plan: {error}", "`remediator plan -o FILE` writes one") from error
    if seal(plan).digest != plan.digest:
        raise PlanRefusedError(f"{path}: was altered since it was made", "plan again")
    return plan


def check_time(plan: Plan, now: datetime) -> None:
    """Raise PlanRefusedError where the plan has expired."""
    if datetime.fromisoformat(plan.expires_at) <= now.astimezone(UTC):
        raise PlanRefusedError(f"the plan expired at {plan.expires_at}", "plan again")
