"""Files that are whole or not there: written beside their place, then moved into it.

A reader, or a run after a crash, sees the old file or the new one and never half of either.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from .errors import FileError


def checked_path(where: str, path: str | os.PathLike[str], suffixes: tuple[str, ...] = ()) -> Path:
    """The path, if its folder is there and its suffix is one of those allowed."""
    found = Path(path)
    if suffixes and found.suffix.lower() not in suffixes:
        raise FileError(
            where,
            f"a file name ending in {' or '.join(suffixes)}",
            f"{found.name!r}",
            "change the suffix",
        )
    if not found.parent.is_dir():
        raise FileError(
            where, "an existing folder to write to", f"{str(found.parent)!r}", "create it first"
        )
    if found.is_dir():
        raise FileError(
            where, "the name of a file", f"the folder {str(found)!r}", "add a file name"
        )
    return found


@contextlib.contextmanager
def replacing(where: str, path: Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends without an error."""
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise FileError(
            where,
            f"to write {str(path)!r}",
            error.strerror or str(error),
            "check the folder's permissions and free space",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
