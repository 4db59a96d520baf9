"""Checkers of chapter 2."""

import torch

from ..patches import patchify
from . import exercise, right, wrong


@exercise
def exercise_1(patches_and_numbers):
    patches, numbers = patches_and_numbers
    if (patches, numbers) == (768, 196):
        return wrong("The two are swapped: first the number of patches, then the numbers in each.")
    if patches == 14:
        return wrong("14 is the number of patches along one side; the grid has 14 rows as well.")
    if numbers == 256:
        return wrong("16 · 16 counts one channel; a patch holds all three.")
    if patches != 196:
        return wrong(f"224 / 16 = 14 patches fit along each side, so there are not {patches} of them.")
    if numbers != 768:
        return wrong(f"A patch has 16 · 16 pixels of three channels, not {numbers} numbers.")
    return right("196 patches of 768 numbers.")


@exercise
def exercise_2(overlapping_patches):
    images = torch.arange(2 * 3 * 8 * 8.0).reshape(2, 3, 8, 8)
    out = overlapping_patches(images, 4, 2)
    if out.shape == (2, 48, 9):
        return wrong("The patches are on the last axis: swap the last two axes to get (B, N, C·P·P).")
    if out.shape == (2, 4, 48):
        return wrong("These windows do not overlap: the stride is S, not P.")
    if out.shape != (2, 9, 48):
        return wrong(f"For 8×8 images, P = 4 and S = 2 the result should be (2, 9, 48), not {tuple(out.shape)}.")
    second = images[0, :, 0:4, 2:6].flatten()
    if not torch.equal(out[0, 1], second):
        if torch.equal(out[0, 1].sort().values, second.sort().values):
            return wrong("Each window holds the right numbers in another order: flatten channel first, then row, then column.")
        return wrong("The second window should start at row 0, column 2: reading order runs along the rows.")
    if not torch.equal(overlapping_patches(images, 4, 4), patchify(images, 4)):
        return wrong("With S = P the result differs from patchify.")
    return right("Nine windows of 4×4 on an 8×8 image, and patchify where the stride equals the window.")


@exercise
def exercise_3(shuffle_patches):
    images = torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    out = shuffle_patches(images, 4, order)
    if out.shape != images.shape:
        return wrong(f"The images came back as {tuple(out.shape)} instead of {tuple(images.shape)}: did you put them together again?")
    cut, moved = patchify(images, 4), patchify(out, 4)
    if torch.equal(moved, cut):
        return wrong("Nothing has moved: index the patch axis with order.")
    if torch.equal(moved[:, order], cut):
        return wrong("The patches went the other way: new patch i should be old patch order[i], so index with order itself.")
    if torch.equal(moved, cut[..., :].flip(0)[:, order]):
        return wrong("The images of the batch were exchanged; index axis 1, the patches.")
    if not torch.equal(moved, cut[:, order]):
        if torch.equal(moved.flatten().sort().values, cut.flatten().sort().values):
            return wrong("All numbers are there, in wrong places: check the grid, (H // P, W // P), and the axis that you index.")
        return wrong("Some numbers were lost or doubled: index the second axis only, then unpatchify.")
    return right("Cut, reordered, put together.")


@exercise
def exercise_4(side):
    if side == 96:
        return wrong("At 96 pixels N = 576 = 6D: the two cost the same. One patch more on each side tips it.")
    if side in (576, 580):
        return wrong("576 is the number of tokens at which they are equal; the side is 4·√N pixels.")
    if side in (136, 140):
        return wrong("A pair costs 2D products, not D: one D for the score and one for the weighted sum.")
    if side in (24, 25):
        return wrong("That is the side in patches; each is 4 pixels wide.")
    if side != 100:
        return wrong(f"At {side} pixels N = {(side // 4) ** 2}; compare N with 6D = 576.")
    return right("100 pixels: N = 625 tokens is the first square grid above 6D = 576.")
