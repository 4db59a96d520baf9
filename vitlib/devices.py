"""The machine that the tensors live on: its memory, its processor, its graphics card."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def keep_memory() -> None:
    """Tell Linux's C library to keep freed memory for the next step instead of giving it back to the system.

    A training step asks for the same few hundred MB each time. What fetching them anew costs depends on the machine;
    chapter 11 measures it.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD of malloc.h
        libc.mallopt(-3, 2**30) or libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD; older libraries allow 32 MiB at most


def default_device() -> torch.device:
    """The accelerator that PyTorch finds on this machine, such as cuda or Apple's mps; the CPU where there is none."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def as_device(name: str | torch.device) -> torch.device:
    """A device of this machine by its name. Raises ValueError, with the names there are, for any other."""
    here = ["cpu"]
    if (accelerator := default_device().type) != "cpu":
        here += [accelerator, *(f"{accelerator}:{i}" for i in range(torch.accelerator.device_count()))]
    if (text := str(name)) not in here:
        raise ValueError(f"PyTorch finds no device {text!r} on this machine; it finds {', '.join(here)}")
    return torch.device(text)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters lie; the CPU for a model without any."""
    return next(model.parameters(), torch.empty(0)).device


def hardware(device: torch.device) -> str:
    """What a record calls the device."""
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads"
    if device.type == "mps":
        return f"Apple GPU (mps), {torch.backends.mps.get_name()}"
    return torch.get_device_module(device).get_device_name(device)


def random_states(device: torch.device) -> dict[str, Tensor | None]:
    """The states of PyTorch's global generators: the CPU's, and that of the device, from which its dropout draws."""
    own = None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device)
    return {"torch": torch.get_rng_state(), "device": own}


def set_random_states(states: dict[str, Tensor | None], device: torch.device) -> None:
    """Put back what `random_states` gave; checkpoints of older versions call the device's state "cuda"."""
    torch.set_rng_state(states["torch"])
    if (own := states.get("device", states.get("cuda"))) is not None:
        torch.get_device_module(device).set_rng_state(own, device)


@contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """Whatever is drawn from the global generators inside, they go on afterwards as if it had not been."""
    states = random_states(device)
    try:
        yield
    finally:
        set_random_states(states, device)


def has_bf16(device: torch.device) -> bool:
    """Whether products in bfloat16 are worth asking for: on a GPU that computes in it. A CPU may only imitate it."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def layout_for(model: nn.Module) -> torch.memory_format:
    """How images should lie in memory: channels last, which makes convolutions faster, except where that is not safe.

    On a CPU with AVX2, oneDNN writes past its memory in the backward pass of a strided 1×1 convolution from fewer than
    8 channels that lie last (oneDNN issue 6035).
    """
    unsafe = any(isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and max(part.stride) > 1
                 and part.in_channels < 8 for part in model.modules())
    return torch.contiguous_format if unsafe else torch.channels_last
