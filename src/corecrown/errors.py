"""The errors that corecrown raises on purpose: each says what was wrong, where, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["CorecrownError", "InputError", "RunError", "known_names"]


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


def known_names(word: object, known: Iterable[str], introduction: str = "known") -> str:
    """Return a hint that names what is known, and before it what a misspelt word may have been meant for.

    Parameters
    ----------
    word
        What was found.
    known
        What could have stood there.
    introduction
        What the names are called.
    """
    names = list(known)
    if str(word) in names:
        return f"{introduction}: {', '.join(names)}"
    near = get_close_matches(str(word).lower(), {name.lower(): name for name in names}, n=1)
    meant = next((name for name in names if near and name.lower() == near[0]), None)
    guess = f"did you mean {meant}? " if meant else ""
    return f"{guess}{introduction}: {', '.join(names) or 'none'}"
