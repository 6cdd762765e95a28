"""The errors that corecrown raises on purpose: each says what was wrong, where, and what to do."""

__all__ = ["CorecrownError", "InputError", "RunError"]


class CorecrownError(Exception):
    """What went wrong, in one line, with a hint that tells what to do.

    Parameters
    ----------
    message
        What was wrong and where (file and line, or field).
    hint
        What to do about it; printed on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(CorecrownError):
    """The user asked for something that cannot be: nothing was run."""

    exit_code = 2


class RunError(CorecrownError):
    """Something that was started did not come to a good end."""
