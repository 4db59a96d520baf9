import math

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from vitlib.positions import interpolate_positions, sincos_1d, sincos_2d


def test_sincos_1d_equals_a_plain_loop():
    codes = sincos_1d(torch.arange(5), 6)
    for n in range(5):
        for i in range(3):
            angle = n / 10000 ** (2 * i / 6)
            assert codes[n, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert codes[n, 3 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_shift_of_positions_is_a_rotation_of_codes():
    """Dot products of codes depend on the distance alone."""
    codes = sincos_1d(torch.arange(20), 32)
    torch.testing.assert_close((codes[3] @ codes[8]), (codes[12] @ codes[17]), atol=1e-5, rtol=0)
    assert (codes[3] @ codes[8] - codes[3] @ codes[9]).abs() > 0.1


def test_sincos_2d_is_row_code_then_column_code():
    codes = sincos_2d(2, 3, 8).reshape(2, 3, 8)
    for row in range(2):
        for column in range(3):
            assert torch.equal(codes[row, column, :4], sincos_1d(torch.tensor([row]), 4)[0])
            assert torch.equal(codes[row, column, 4:], sincos_1d(torch.tensor([column]), 4)[0])


def test_sincos_2d_gives_every_cell_its_own_code():
    codes = sincos_2d(14, 14, 64)
    assert codes.shape == (196, 64)
    assert (torch.cdist(codes, codes) + torch.eye(196) * 9).min() > 0.1


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (2, 2), (3, 6)])
@pytest.mark.parametrize("prefix", [0, 1])
def test_interpolation_equals_timm(grid, prefix):
    codes = torch.randn(1, prefix + 16, 8)
    ours = interpolate_positions(codes, grid, prefix)
    theirs = resample_abs_pos_embed(codes, list(grid), num_prefix_tokens=prefix)
    assert ours.shape == (1, prefix + grid[0] * grid[1], 8)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_interpolation_keeps_the_prefix_and_the_order_of_rows_and_columns():
    row = torch.arange(4.0)[:, None].expand(4, 4).flatten()  # one code channel that holds the row
    codes = torch.cat([torch.full((1, 1, 1), 9.0), row[None, :, None]], dim=1)
    stretched = interpolate_positions(codes, (8, 6), prefix=1)
    assert stretched[0, 0, 0] == 9
    rows = stretched[0, 1:, 0].reshape(8, 6)
    torch.testing.assert_close(rows, rows[:, :1].expand(8, 6))
    assert (rows[:, 0].diff() > 0).all()


def test_interpolation_to_the_same_grid_changes_nothing():
    codes = torch.randn(1, 17, 8)
    torch.testing.assert_close(interpolate_positions(codes, (4, 4), 1), codes, atol=1e-6, rtol=0)


def test_wrong_widths_and_grids_are_named_with_the_fix():
    with pytest.raises(ValueError, match="even width, got 7; use 8"):
        sincos_1d(torch.arange(3), 7)
    with pytest.raises(ValueError, match="4 divides, got 10; use 12"):
        sincos_2d(2, 2, 10)
    for codes, prefix in ((17, 0), (19, 1), (19, -6), (3, 4), (1, 1)):
        words = f"{codes} position codes less prefix={prefix} do not fill .*class token and the registers"
        with pytest.raises(ValueError, match=words):
            interpolate_positions(torch.zeros(1, codes, 8), (4, 4), prefix)
    for bad in (torch.zeros(2, 16, 8), torch.zeros(16, 8), torch.zeros(1, 16, 8, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"floats of shape \(1, prefix\+N, D\), got torch"):
            interpolate_positions(bad, (4, 4))
    for grid in (8, (8, 8, 8), (0, 4), (2.5, 4)):
        with pytest.raises(ValueError, match=r"a grid is \(rows, columns\), two whole numbers"):
            interpolate_positions(torch.zeros(1, 16, 8), grid)
    for rows in (0, -1, 2.5):
        with pytest.raises(ValueError, match=rf"two whole numbers of 1 or more, got \({rows}, 2\)"):
            sincos_2d(rows, 2, 8)
    for dim, use in ((0, 2), (-3, 2), (5.5, 6)):
        with pytest.raises(ValueError, match=f"even width, got {dim}; use {use}"):
            sincos_1d(torch.arange(3), dim)
    with pytest.raises(ValueError, match=r"shape \(N,\), got \(2, 3\); flatten"):
        sincos_1d(torch.zeros(2, 3), 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_interpolation_keeps_the_dtype_and_stretches_in_single_precision_or_better(dtype):
    codes = torch.randn(1, 19, 8).to(dtype)
    found = interpolate_positions(codes, (6, 6), prefix=3)
    assert found.dtype == dtype
    assert torch.equal(found[:, :3], codes[:, :3])
    exact = interpolate_positions(codes.double(), (6, 6), prefix=3)
    torch.testing.assert_close(found, exact.to(dtype), atol=1e-6, rtol=torch.finfo(dtype).eps)
