"""Many processes, one model: what the training loop asks of `torch.distributed`. Alone, every function is idle.

`torchrun` starts the processes and tells each its number. All draw the same batches from the same seed; each trains
on its own share, and DistributedDataParallel averages the gradients, so that the weights stay equal everywhere.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from .devices import as_device


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0. Number 0 writes the files and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


@contextmanager
def group(device: str) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, and leave at the end; gives this process's own device.

    gloo connects CPUs, NCCL GPUs. Without `torchrun` it only gives the device. After an error nothing is taken down:
    a group that has lost a process may wait for it. Raises ValueError for a device that this machine has not, or
    that several processes cannot share.
    """
    own = as_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield own
        return
    if own.type not in ("cpu", "cuda"):
        raise ValueError(f"several processes train on CPUs or on NVIDIA's GPUs, not on {own}; use --device cpu, or "
                         "start one process, without torchrun")
    if gpu := own.type == "cuda":
        own = as_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if gpu else "gloo", device_id=own if gpu else None)
    yield own
    dist.barrier()  # nobody leaves while number 0 still writes
    dist.destroy_process_group()


@contextmanager
def number_0_first() -> Iterator[None]:
    """Let number 0 do something alone, such as a download, before the others find it done."""
    if rank():
        dist.barrier()
    yield
    if processes() > 1 and rank() == 0:
        dist.barrier()


def share(whole: Tensor) -> Tensor:
    """This process's part of a batch: every n-th image."""
    return whole[rank()::processes()]


def summed(*values: Tensor | float) -> list[float]:
    """Each value, added up over all processes."""
    together = torch.stack([torch.as_tensor(value, dtype=torch.float32).cpu() for value in values])
    if processes() > 1:
        together = together.to("cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(together)
    return together.tolist()


def connect(model: nn.Module) -> nn.Module:
    """The same model; its backward pass averages the gradients over all processes."""
    return DistributedDataParallel(model) if processes() > 1 else model


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside what `torch.compile` and `connect` put around it; both would change its parameters' names."""
    while isinstance(model, DistributedDataParallel) or "_orig_mod" in dict(model.named_children()):
        model = model.module if isinstance(model, DistributedDataParallel) else model._orig_mod
    return model
