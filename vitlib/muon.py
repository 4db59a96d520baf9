"""Muon: momentum for matrices, with every update made nearly orthogonal."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .devices import has_bf16


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Bring all singular values of each matrix near 1, and keep its singular vectors: (k, m, n) -> (k, m, n).

    With G = U S Vᵀ the aim is U Vᵀ. A polynomial of the matrix gets near it without a decomposition: each step turns
    every singular value s into a·s + b·s³ + c·s⁵. After five steps all but the smallest lie between 0.68 and 1.21.
    A matrix of zeros stays one. Chapter 9 writes it for one matrix. Source: Jordan et al. 2024, "Muon".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[-2] > matrices.shape[-1]
    X = matrices.mT if tall else matrices  # lying down, so that X Xᵀ is the smaller product
    X = X / X.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)  # no singular value is above 1 now
    for _ in range(steps):
        A = X @ X.mT  # (k, m, m)
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)  # b·A + c·A²
        X = torch.baddbmm(X, B, X, beta=a)  # a·X + B·X
    return X.mT if tall else X


class Muon(Optimizer):
    """Momentum, then an orthogonal step, for matrices (m, n) and for filters (m, C, k, k), read as (m, C·k·k).

    A step moves W by -lr · √max(1, m/n) · orthogonalise(g + momentum · (average - g)), where `average` is a moving
    average of the gradients g, after W has shrunk by 1 - lr · weight_decay. Matrices of one shape are multiplied
    together. The products are made in bfloat16 on a GPU that has it, which is what Muon was designed for, and in
    float32 elsewhere: a processor without bfloat16 only imitates it, and is then slower by a factor of ten.
    Raises ValueError for a parameter with fewer than two axes.
    Chapter 9 writes the step for one matrix. Source: Jordan et al. 2024, "Muon"; the same steps as `torch.optim.Muon`.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95):
        if flat := [tuple(p.shape) for p in parameters if p.ndim < 2]:
            raise ValueError(f"Muon changes matrices and filters, got parameters of shape {flat[0]}; "
                             "leave vectors to AdamW")
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for alike in by_shape([p for p in group["params"] if p.grad is not None]):
                updates = orthogonalise(self.directions(alike, group["momentum"]).to(product_type(alike[0].device)))
                m, n = updates.shape[1:]
                changes = [update.reshape(alike[0].shape).to(alike[0].dtype) for update in updates]
                torch._foreach_mul_(alike, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(alike, changes, alpha=-group["lr"] * max(1, m / n) ** 0.5)

    def directions(self, parameters: list[Tensor], momentum: float) -> Tensor:
        """Bring the averages up to date and look one step ahead (Nesterov): k parameters -> (k, m, n)."""
        gradients = [p.grad.flatten(1) for p in parameters]
        for p, gradient in zip(parameters, gradients, strict=True):
            if "momentum_buffer" not in self.state[p]:  # the name that it has in PyTorch's Muon
                self.state[p]["momentum_buffer"] = torch.zeros_like(gradient)
        averages = [self.state[p]["momentum_buffer"] for p in parameters]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        return torch.stack(torch._foreach_lerp(gradients, averages, momentum))


def by_shape(parameters: list[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters of one shape together, in their old order."""
    groups: dict[torch.Size, list[nn.Parameter]] = {}
    for p in parameters:
        groups.setdefault(p.shape, []).append(p)
    return list(groups.values())


def product_type(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes in it; float32 elsewhere, so on every CPU."""
    return torch.bfloat16 if has_bf16(device) else torch.float32
