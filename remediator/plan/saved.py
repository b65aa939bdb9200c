"""Plans as files. Reading one: what is damaged, altered, not the approved one, or past its time is refused."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ..errors import InputError, PlanRefusedError
from ..model import FORMAT_VERSION
from .model import Plan
from .plan import TIME, seal


def encode(plan: Plan) -> bytes:
    """A plan as the bytes of its file: indented JSON, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n"


def read(path: Path) -> bytes:
    """The bytes of a plan's file; raises InputError where they cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from error


def load(path: Path) -> Plan:
    """The plan in a file, as `parse` takes it."""
    return parse(read(path), path)


def parse(data: bytes, path: Path) -> Plan:
    """The plan that the bytes of a file are.

    Raises InputError for what is no plan, PlanRefusedError for one whose bytes were altered.
    """
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


def check_approval(plan: Plan, approved: str) -> None:
    """Raise PlanRefusedError where the approved digest is not, to the last digit, that of the plan."""
    if not hmac.compare_digest(plan.digest.encode(), approved.encode(errors="surrogateescape")):
        raise PlanRefusedError(
            "the plan is not the one that was approved",
            "--approve wants the whole digest, 64 digits, as `remediator plan` printed it",
        )


def check_time(plan: Plan, now: datetime) -> None:
    """Raise PlanRefusedError where the plan has expired, or does not say when it does (RFC 3339, UTC)."""
    try:
        end = datetime.strptime(plan.expires_at, TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise PlanRefusedError(f"the plan expires at no time that is known: {plan.expires_at}", "plan again") from error
    if end <= now.astimezone(UTC):
        raise PlanRefusedError(f"the plan expired at {plan.expires_at}", "plan again")
