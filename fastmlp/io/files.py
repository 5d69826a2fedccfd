"""Atomic file writes: a temporary file is written next to the target, then renamed.

A reader, or a run after a crash, sees either the old file or the new one, never a part of one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import FileError, InputTypeError

# Prefix of temporary names, as short as possible because file names may have the maximum length.
_NAME_BYTES = 4


def as_path(where: str, value: str | os.PathLike[str]) -> Path:
    """Turn text or a path object into a path, with `~` expanded."""
    if not isinstance(value, str | os.PathLike):
        raise InputTypeError(where, "a path", type(value).__name__, "pass text or a pathlib.Path")
    got = ""
    try:
        found = Path(value).expanduser()
        if b"\0" in os.fsencode(found):
            got = "one with a NUL"
    except UnicodeEncodeError:
        got = "one with characters that it does not know"
    except RuntimeError:  # from expanduser
        got = "the home folder of an unknown user"
    if got:
        raise FileError(where, "a path that the system can hold", got, "choose another one")
    return found


def checked_path(where: str, path: str | os.PathLike[str], suffixes: tuple[str, ...] = ()) -> Path:
    """The path, if a file can be written there and its suffix is one of those allowed."""
    found = as_path(where, path)
    if suffixes and found.suffix.lower() not in suffixes:
        raise FileError(
            where,
            f"a file name ending in {' or '.join(suffixes)}",
            f"{found.name!r}",
            "change the suffix",
        )
    try:
        in_folder, is_folder = found.parent.is_dir(), found.is_dir()
    except OSError as error:  # such as a name that is too long
        got = error.strerror or type(error).__name__
        raise FileError(where, "the name of a file", got, "choose another name") from error
    if not in_folder:
        raise FileError(
            where, "an existing folder to write to", f"{str(found.parent)!r}", "create it first"
        )
    if is_folder:
        raise FileError(
            where, "the name of a file", f"the folder {str(found)!r}", "add a file name"
        )
    if not os.access(found.parent, os.W_OK):
        raise FileError(
            where,
            "a folder that can be written to",
            f"{str(found.parent)!r}",
            "change its permissions or choose another one",
        )
    return found


def _flush_folder(folder: Path) -> None:
    """Make a file's new name survive a power failure, if the system can flush folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(folder: Path, suffix: str) -> None:
    """Remove temporary files of writes into a folder that were interrupted by a crash."""
    for leftover in folder.glob(f".{'?' * 2 * _NAME_BYTES}{suffix}"):
        leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(where: str, path: Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends without an error."""
    temporary = path.with_name(f".{secrets.token_hex(_NAME_BYTES)}{path.suffix}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # the default mode of new files; some writers change it
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except FileError:
        raise
    except OSError as error:
        raise FileError(
            where,
            f"to write {str(path)!r}",
            error.strerror or str(error),
            "check the folder's permissions and free space",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # a name that cannot be made cannot be removed either
            temporary.unlink(missing_ok=True)


def user_cache_folder() -> Path:
    """The folder `fastmlp` in the user's cache folder; it need not exist."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastmlp"
