"""What the lab raises."""


class LabError(Exception):
    """The lab could not do what was asked; the message says what failed and what was seen."""
