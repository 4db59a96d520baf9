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
    """Where data sets lie: $VITLIB_DATA, else $XDG_CACHE_HOME/vitlib, else ~/.cache/vitlib.

    Raises FileNotFoundError where that cannot be told.
    """
    first = homes()[0]
    if first.startswith("~"):
        raise FileNotFoundError(f"there is no home folder, so {first} is nowhere; set VITLIB_DATA to a whole path")
    return Path(first)


def cache_homes() -> list[Path]:
    """Where what was computed may be kept, the first choice first; empty where no place is known."""
    return [Path(home) for home in homes() if not home.startswith("~")]


def homes() -> list[str]:
    """All places that the environment names, the first choice first. A ~ stays where it stands for nothing."""
    shared = os.environ.get("XDG_CACHE_HOME", "")
    shared = shared if os.path.isabs(shared) else "~/.cache"  # its specification: ignore what is relative
    places = [os.environ.get("VITLIB_DATA"), os.path.join(shared, "vitlib")]
    return [os.path.expanduser(place) for place in places if place]
