"""Muon makes PyTorch's steps, in float32 on a CPU and for matrices of one shape at once."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitlib import muon as module
from vitlib.muon import Muon, by_shape, orthogonalise, product_type


def polynomial(s: torch.Tensor) -> torch.Tensor:
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return s


@pytest.mark.parametrize(("m", "n"), [(6, 6), (5, 9), (9, 5), (1, 4), (4, 1)])
def test_only_the_singular_values_change_and_they_follow_the_polynomial(m, n):
    matrices = torch.randn(3, m, n, dtype=torch.float64)
    U, S, V = torch.linalg.svd(matrices, full_matrices=False)
    expected = U @ torch.diag_embed(polynomial(S / S.norm(dim=-1, keepdim=True))) @ V
    torch.testing.assert_close(orthogonalise(matrices), expected, atol=1e-10, rtol=0)


def test_values_that_are_not_tiny_end_between_two_thirds_and_one_and_a_fifth():
    s = torch.linspace(0.01, 1, 10_000)
    assert 0.68 < polynomial(s).min() < polynomial(s).max() < 1.21


def test_matrices_that_are_multiplied_together_do_not_mix():
    matrices = torch.randn(4, 8, 12)
    together = orthogonalise(matrices)
    for matrix, result in zip(matrices, together):
        torch.testing.assert_close(orthogonalise(matrix[None])[0], result, atol=1e-6, rtol=1e-5)


def test_a_matrix_of_zeros_stays_one():
    assert torch.equal(orthogonalise(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


SHAPES = [(12, 8), (8, 8), (8, 20), (12, 8), (20, 8)]


def test_the_steps_are_pytorchs_up_to_its_bfloat16():
    weights = [torch.randn(shape) for shape in SHAPES]
    ours, theirs = ([nn.Parameter(w.clone()) for w in weights] for _ in range(2))
    mine = Muon(ours, lr=0.02, weight_decay=0.1, momentum=0.9)
    pytorchs = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.9)
    for step in range(6):
        for p, q in zip(ours, theirs):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        for optimizer in (mine, pytorchs):
            optimizer.param_groups[0]["lr"] = 0.02 / (1 + step)  # the schedule moves it
            optimizer.step()
    for p, q, w in zip(ours, theirs, weights):
        assert (p - q).norm() < 0.03 * (p - w).norm()


def both_in_float64(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.double)  # what PyTorch's Muon calls,
    monkeypatch.setattr(torch, "bfloat16", torch.float64)  # or asks for from 2.15 on
    monkeypatch.setattr(module, "product_type", lambda device: torch.float64)


def test_the_steps_are_pytorchs_to_the_last_digits_where_that_works_in_float64(monkeypatch):
    both_in_float64(monkeypatch)
    weights = [torch.randn(shape, dtype=torch.float64) for shape in SHAPES]
    ours, theirs = ([nn.Parameter(w.clone()) for w in weights] for _ in range(2))
    mine, pytorchs = (kind(p, lr=0.05, weight_decay=0.2, momentum=0.8)
                      for kind, p in ((Muon, ours), (torch.optim.Muon, theirs)))
    for _ in range(4):
        for p, q in zip(ours, theirs):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        mine.step()
        pytorchs.step()
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p, q, atol=1e-10, rtol=1e-10)


def test_a_filter_changes_as_the_matrix_of_its_numbers():
    weight = torch.randn(6, 3, 2, 2)
    filters, matrix = nn.Parameter(weight.clone()), nn.Parameter(weight.flatten(1).clone())
    optimizers = [Muon([p], lr=0.02, weight_decay=0.1) for p in (filters, matrix)]
    for _ in range(3):
        filters.grad = torch.randn_like(weight)
        matrix.grad = filters.grad.flatten(1)
        for optimizer in optimizers:
            optimizer.step()
        assert torch.equal(filters.flatten(1), matrix)
    assert not torch.equal(filters, weight)


def test_a_parameter_without_a_gradient_keeps_its_value_and_the_others_move():
    still, moving = (nn.Parameter(torch.randn(4, 4)) for _ in range(2))
    before = still.detach().clone(), moving.detach().clone()
    optimizer = Muon([still, moving], lr=0.1, weight_decay=0.5)
    moving.grad = torch.randn(4, 4)
    optimizer.step()
    assert torch.equal(still, before[0]) and not torch.equal(moving, before[1])


def test_the_state_is_saved_and_restored():
    def run(cut: bool) -> torch.Tensor:
        torch.manual_seed(1)
        p = nn.Parameter(torch.randn(5, 3))
        optimizer = Muon([p], lr=0.1)
        for i in range(4):
            if cut and i == 2:
                state, optimizer = optimizer.state_dict(), Muon([p], lr=0.1)
                optimizer.load_state_dict(state)
            p.grad = torch.randn(5, 3)
            optimizer.step()
        return p.detach()
    assert torch.equal(run(cut=True), run(cut=False))


def test_it_goes_on_from_the_state_of_pytorchs(monkeypatch):
    """So checkpoints of runs that began with PyTorch's Muon can be resumed."""
    both_in_float64(monkeypatch)
    start, gradients = torch.randn(5, 3, 2, 2, dtype=torch.float64), torch.randn(4, 5, 12, dtype=torch.float64)
    matrix, filters = nn.Parameter(start.flatten(1).clone()), nn.Parameter(start.clone())
    theirs, ours = torch.optim.Muon([matrix], lr=0.1, weight_decay=0.1), Muon([filters], lr=0.1, weight_decay=0.1)
    for i, gradient in enumerate(gradients):
        matrix.grad, filters.grad = gradient, gradient.reshape(filters.shape)
        theirs.step()
        if i > 1:
            ours.step()
        if i == 1:
            filters.data.copy_(matrix.reshape(filters.shape))
            ours.load_state_dict(deepcopy(theirs.state_dict()))  # or both would write into one buffer
    torch.testing.assert_close(filters.flatten(1), matrix, atol=1e-10, rtol=0)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"matrices and filters, got parameters of shape \(7,\); leave vectors"):
        Muon([nn.Parameter(torch.randn(3, 3)), nn.Parameter(torch.randn(7))], lr=0.1)


def test_parameters_of_one_shape_come_together_in_their_old_order():
    parameters = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    groups = by_shape(parameters)
    assert [[i for i, p in enumerate(parameters) if any(p is q for q in group)] for group in groups] == [
        [0, 3], [1], [2], [4]]
    assert groups[0][0] is parameters[0]


@pytest.mark.parametrize(("device", "has_bf16", "expected"), [
    ("cpu", True, torch.float32), ("cuda", True, torch.bfloat16), ("cuda", False, torch.float32),
    ("mps", True, torch.float32)])
def test_products_are_made_in_bfloat16_only_on_a_gpu_that_has_it(monkeypatch, device, has_bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert product_type(torch.device(device)) == expected


class Types(TorchDispatchMode):
    """Notes the type of every tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.found |= {t.dtype for t in tree_leaves(result) if isinstance(t, torch.Tensor)}
        return result


def test_on_a_cpu_all_of_a_step_is_float32():
    p = nn.Parameter(torch.randn(16, 16))
    p.grad = torch.randn(16, 16)
    with Types() as types:
        Muon([p], lr=0.1).step()
    assert types.found == {torch.float32}
