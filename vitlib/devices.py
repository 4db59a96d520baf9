"""The machine that the tensors live on: its memory, its processor, its graphics card."""

import ctypes
import sys


def keep_memory() -> None:
    """Tell Linux's C library to keep freed memory for the next step instead of giving it back to the system.

    A training step asks for the same few hundred MB each time. What fetching them anew costs depends on the machine;
    chapter 11 measures it.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD of malloc.h
        libc.mallopt(-3, 2**30) or libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD; older libraries allow 32 MiB at most
