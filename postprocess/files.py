"""Files that are written whole or not at all."""

import os
import tempfile
from pathlib import Path

from corecrown.errors import InputError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file beside its place and move it there: whoever reads it finds the old one or the new one, whole.

    Folders on the way are made.

    Raises
    ------
    InputError
        If it cannot be written; what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written: {error.strerror or error}", "check the disk and the permissions"
        ) from error
    return path
