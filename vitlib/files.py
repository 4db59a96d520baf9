"""Where files lie, and how they are written: whole or not at all."""

import os
import secrets
from pathlib import Path


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a whole file or leave the old one as it was: a reader never sees half of it.

    Raises OSError naming the path when the disk is full or cannot be written. Built in chapter 8.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # same disk: can be renamed
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path} ({error.strerror}); free some space or choose another "
                      "folder. What was there before is unchanged") from error
    finally:
        part.exists() and part.unlink()  # after Ctrl-C too


def data_home() -> Path:
    """Where data sets lie: $VITLIB_DATA, or ~/.cache/vitlib."""
    return Path(os.environ.get("VITLIB_DATA") or Path.home() / ".cache" / "vitlib").expanduser()
