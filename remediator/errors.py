"""What can go wrong, said for the person who reads it."""


class RemediatorError(Exception):
    """One root of errors: what was wrong and where, and a hint what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InputError(RemediatorError):
    """A file or argument that the user gave cannot be used."""


class PlanRefusedError(RemediatorError):
    """A plan that must not be applied: stale, used, expired, altered, or made for another host."""


class ApplyError(RemediatorError):
    """Applying could not be started or did not finish."""
