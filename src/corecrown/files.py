"""Files that are written whole or not at all."""

import os
import tempfile
from pathlib import Path

from corecrown.errors import CorecrownError, RunError

__all__ = ["write_whole"]


def write_whole(
    path: Path,
    content: str | bytes,
    error: type[CorecrownError] = RunError,
    hint: str = "is the disk full or read-only?",
) -> Path:
    """Write a file beside its place and move it there: whoever reads it finds the old one or the new one, whole.

    Folders on the way are made.

    Parameters
    ----------
    path
        Where it goes.
    content
        All of it; text is written as UTF-8.
    error, hint
        What is raised where it cannot be written, and what it tells the user to do.

    Returns
    -------
    The path.

    Raises
    ------
    CorecrownError
        If it cannot be written; what was there before stays.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as reason:
        raise error(f"{path}: cannot be written: {reason.strerror or reason}", hint) from reason
    return path
