"""Checkers of chapter 2."""

import torch
from torch.nn import functional as F

from ..patches import patchify
from . import exercise, right, wrong
from .evidence import weigh


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
def exercise_2(shuffle_patches):
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
def exercise_3(side):
    if side in (128, 280, 288):
        return wrong("At 128 pixels N = 256, still below 6D = 288." if side == 128 else
                     "288 is the number of tokens at which the two are equal; the side is 8·√N pixels.")
    if side in (192, 200):
        return wrong("A pair costs 2D products, not D: one D for the score and one for the weighted sum.")
    if side in (17, 18):
        return wrong("That is the side in patches; each is 8 pixels wide.")
    if side in (68, 72):
        return wrong("The patches are 8×8, not 4×4: the side is 8·√N pixels.")
    if side != 136:
        return wrong(f"At {side} pixels N = {(side // 8) ** 2}; compare N with 6D = 288, and take a multiple of 8.")
    return right("136 pixels: N = 289 tokens is the first square grid above 6D = 288.")


@exercise
def exercise_4(claim, evidence):
    if isinstance(evidence, dict) and evidence and all(len(runs) and max(runs) < 0.14 for runs in evidence.values()):
        return wrong("All runs are near chance, 10 %: nothing was learned, so nothing can be compared. Train for more epochs.")
    return weigh(claim, evidence, "squares", "strips", between=(0, 1))


@exercise
def exercise_5(cut):
    images = torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12)
    out = cut(images, (4, 2))
    if out.shape == (2, 12, 24) and torch.equal(out, cut_strips(images, (2, 4))):
        return wrong("The two sides are exchanged: size = (p, q) is p rows by q columns.")
    if out.shape != (2, 12, 24):
        return wrong(f"Images of 8×12 cut into 4×2 should give (2, 12, 24), not {tuple(out.shape)}.")
    if torch.equal(out, images.reshape(2, 12, 24)):
        return wrong("The right shape with the wrong numbers: the permute between the two reshapes is missing.")
    true = cut_strips(images, (4, 2))
    if not torch.equal(out, true) and torch.equal(out.sort(dim=2).values, true.sort(dim=2).values):
        return wrong("Each patch holds the right numbers in another order: flatten channel first, then row, then column.")
    if not torch.equal(out, true):
        return wrong("Patch 1 should lie to the right of patch 0: the patch row comes before the patch column." if
                     torch.equal(out[:, 0], true[:, 0]) else "Patch 0 should be rows 0 to 3 and columns 0 and 1 of all channels.")
    if not torch.equal(cut(images, (4, 4)), patchify(images, 4)):
        return wrong("For p = q the result differs from patchify.")
    return right("Twelve patches of 4×2 from an image of 8×12, and patchify where p equals q.")


def cut_strips(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The patches of p rows by q columns, from `unfold`: (B, C, H, W) -> (B, N, C·p·q)."""
    return F.unfold(images, size, stride=size).transpose(1, 2)


@exercise
def exercise_6(windows):
    images = torch.arange(2 * 3 * 8 * 9.0).reshape(2, 3, 8, 9)
    out = windows(images, (4, 3), (2, 1))
    if out.shape == (2, 36, 21):
        return wrong("The windows are on the last axis: swap the last two axes to get (B, N, C·p·q).")
    if out.shape == (2, 6, 36):
        return wrong("These windows do not overlap: one starts every step pixels, not every size.")
    if out.shape == (2, 20, 36):
        return wrong("The steps are exchanged: s rows down, t columns to the right.")
    if out.shape == (2, 36, 36):
        return wrong("Windows that would reach beyond the image do not count: the last one starts at row H - p, column W - q.")
    if out.shape != (2, 21, 36):
        return wrong(f"For images of 8×9, size (4, 3) and step (2, 1) the result should be (2, 21, 36), not {tuple(out.shape)}.")
    second = images[0, :, 0:4, 1:4].flatten()
    if not torch.equal(out[0, 1], second):
        if torch.equal(out[0, 1].sort().values, second.sort().values):
            return wrong("Each window holds the right numbers in another order: flatten channel first, then row, then column.")
        return wrong("The second window should start at row 0, column 1: reading order runs along the rows.")
    if not torch.equal(windows(images, (4, 3), (4, 3)), cut_strips(images, (4, 3))):
        return wrong("With the step equal to the size the result differs from stage 1.")
    return right("21 windows of 4×3 in reading order, and stage 1 where the step equals the size.")


@exercise
def exercise_7(join):
    images = torch.rand(2, 3, 8, 9, generator=torch.Generator().manual_seed(0)) + 1  # no pixel is 0
    apart = join(cut_strips(images, (4, 3)), (4, 3), (4, 3), (8, 9))
    if apart.shape != images.shape:
        return wrong(f"The images came back as {tuple(apart.shape)} instead of {tuple(images.shape)}.")
    if not torch.allclose(apart, images):
        return wrong("Even windows that do not overlap come back in wrong places: are patches (B, N, C·p·q) read channel first?")
    out = join(F.unfold(images, (4, 3), stride=(2, 1)).transpose(1, 2), (4, 3), (2, 1), (8, 9))
    if not torch.allclose(out, images, atol=1e-5):
        times = F.fold(torch.ones(1, 12, 21), (8, 9), (4, 3), stride=(2, 1))  # how many windows wrote each pixel
        if torch.allclose(out, images * times, atol=1e-4):
            return wrong("Where windows overlap the copies are added up: divide by how many windows wrote each pixel.")
        if torch.allclose(out, images * times / times.mean(), atol=1e-4) or torch.allclose(out, images * times / times.max(), atol=1e-4):
            return wrong("All pixels are divided by one number: each needs its own count, and the border has fewer copies.")
        return wrong("Where windows overlap the pixels do not come back: average all copies of each pixel.")
    g = torch.Generator().manual_seed(1)
    mixed = torch.rand(1, 2, 2, generator=g)  # two windows of 1×2 over three pixels: copies that disagree
    middle = join(mixed, (1, 2), (1, 1), (1, 3))[0, 0, 0, 1]
    if not torch.allclose(middle, (mixed[0, 0, 1] + mixed[0, 1, 0]) / 2):
        return wrong("Copies that disagree should be averaged; here one of them replaced the other.")
    gaps = join(F.unfold(images, (2, 2), stride=(4, 4)).transpose(1, 2), (2, 2), (4, 4), (8, 9))
    if not gaps.isfinite().all():
        return wrong("Where no window has been, 0 is divided by 0: let the count be at least 1.")
    if gaps[:, :, 2:4].any():
        return wrong("Where no window has been, the pixel should be 0.")
    return right("Every pixel is the mean of its copies, and 0 where there is none.")
