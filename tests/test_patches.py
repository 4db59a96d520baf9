import pytest
import torch
from torch.nn import functional as F

from vitlib.patches import PatchEmbed, patchify, unpatchify

SIZES = [(1, 3, 32, 32, 4), (2, 1, 6, 9, 3), (3, 5, 4, 8, 2), (2, 3, 5, 7, 1), (2, 2, 4, 4, 4)]


@pytest.mark.parametrize(("B", "C", "H", "W", "P"), SIZES)
def test_unpatchify_undoes_patchify_bit_for_bit(B, C, H, W, P):
    images = torch.randn(B, C, H, W)
    patches = patchify(images, P)
    assert patches.shape == (B, H * W // P**2, C * P * P)
    assert torch.equal(unpatchify(patches, P, (H // P, W // P)), images)


@pytest.mark.parametrize(("B", "C", "H", "W", "P"), SIZES)
def test_patchify_equals_unfold(B, C, H, W, P):
    images = torch.randn(B, C, H, W)
    assert torch.equal(patchify(images, P), F.unfold(images, P, stride=P).transpose(1, 2))


def test_patches_go_row_by_row_and_channel_first():
    images = torch.arange(32).reshape(1, 2, 4, 4)
    assert patchify(images, 2)[0].tolist() == [
        [0, 1, 4, 5, 16, 17, 20, 21], [2, 3, 6, 7, 18, 19, 22, 23],
        [8, 9, 12, 13, 24, 25, 28, 29], [10, 11, 14, 15, 26, 27, 30, 31]]


def test_patchify_keeps_the_dtype_and_passes_gradients():
    assert patchify(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), 2).dtype == torch.uint8
    images = torch.randn(1, 1, 4, 4, requires_grad=True)
    patchify(images, 2).sum().backward()
    assert torch.equal(images.grad, torch.ones(1, 1, 4, 4))


def test_patch_embed_is_one_linear_map_on_patches():
    embed, images = PatchEmbed(8, 4, 3, 16), torch.randn(2, 3, 8, 8)
    linear = F.linear(patchify(images, 4), embed.proj.weight.flatten(1), embed.proj.bias)
    assert embed(images).shape == (2, embed.num_patches, 16) == (2, 4, 16)
    torch.testing.assert_close(embed(images), linear, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(3, 32, 32), (32, 32), (1, 1, 3, 32, 32)])
def test_patchify_names_a_wrong_rank(shape):
    with pytest.raises(ValueError, match=rf"\({shape[0]}, {shape[1]}.*images\[None\]"):
        patchify(torch.zeros(shape), 4)


@pytest.mark.parametrize(("H", "W", "P"), [(32, 30, 4), (30, 32, 4), (32, 32, 5), (32, 32, 0), (32, 32, -4)])
def test_patchify_names_a_patch_that_does_not_divide(H, W, P):
    with pytest.raises(ValueError, match=f"patch size {P} does not divide.*{H}×{W}.*divisor"):
        patchify(torch.zeros(1, 3, H, W), P)


@pytest.mark.parametrize(("shape", "P", "grid"), [
    ((1, 4, 12), 2, (2, 3)), ((1, 4, 13), 2, (2, 2)), ((4, 12), 2, (2, 2))])
def test_unpatchify_names_patches_that_do_not_fit_the_grid(shape, P, grid):
    with pytest.raises(ValueError, match=rf"grid of {grid[0]}×{grid[1]}, got \({shape[0]}, .*check patch_size"):
        unpatchify(torch.zeros(shape), P, grid)


@pytest.mark.parametrize("P", [0, -2, 2.0, "2", True])
def test_a_patch_size_that_is_no_number_of_pixels_is_named(P):
    with pytest.raises(ValueError, match=f"patch size {P!r} does not divide the image of 4×4 pixels"):
        patchify(torch.zeros(1, 3, 4, 4), P)
    with pytest.raises(ValueError, match=f"whole number of pixels, 1 or more, got {P!r}"):
        unpatchify(torch.zeros(1, 4, 12), P, (2, 2))
    with pytest.raises(ValueError, match=f"patch_size {P!r} does not divide image_size 4"):
        PatchEmbed(4, P, 3, 8)


@pytest.mark.parametrize("size", [(16, 32), 16.0, "16", 0, True])
def test_an_image_size_that_is_no_number_of_pixels_is_named(size):
    with pytest.raises(ValueError, match=r"image_size must be a whole number of pixels.*got .*square") as error:
        PatchEmbed(size, 4, 3, 8)
    assert repr(size) in str(error.value)


@pytest.mark.parametrize("grid", [4, (2, 2, 1), (2.0, 2), (-2, -2)])
def test_a_grid_that_is_none_is_named(grid):
    with pytest.raises(ValueError, match=r"a grid is \(rows, columns\), two whole numbers of 1 or more, got"):
        unpatchify(torch.zeros(1, 4, 12), 2, grid)


def test_hints_name_the_divisors_of_the_size_that_was_given():
    with pytest.raises(ValueError, match="8 does not divide image_size 36; .* one of 1, 2, 3, 4, 6, 9, 12, 18, 36$"):
        PatchEmbed(36, 8, 3, 8)
    with pytest.raises(ValueError, match="5 does not divide .* 36×24 .* one of 1, 2, 3, 4, 6, 12, or resize"):
        patchify(torch.zeros(1, 3, 36, 24), 5)


def test_an_empty_batch_is_cut_and_put_back():
    patches = patchify(torch.zeros(0, 3, 4, 4), 2)
    assert patches.shape == (0, 4, 12)
    assert unpatchify(patches, 2, (2, 2)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("P", [0, 3, 64])
def test_patch_embed_names_a_patch_that_does_not_divide(P):
    with pytest.raises(ValueError, match=f"patch_size {P} does not divide image_size 32.*divisor"):
        PatchEmbed(32, P, 3, 16)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 3, 8, 16), (2, 1, 8, 8), (3, 8, 8)])
def test_patch_embed_names_images_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=rf"\(B, 3, 8, 8\), got \({shape[0]}, {shape[1]}.*resize"):
        PatchEmbed(8, 4, 3, 16)(torch.zeros(shape))
