"""Checkers of chapter 1."""

import torch

from ..shapes import shapes
from . import exercise, right, wrong
from .evidence import weigh


@exercise
def exercise_1(megabytes):
    small, large = megabytes
    if abs(small - 122.9) < 1 and abs(large - 30.7) < 1:
        return wrong("The two are swapped: a float32 takes four bytes, a uint8 takes one.")
    if abs(small - 10.24) < 0.1:
        return wrong("That is one channel only: an image has 3 · 32 · 32 numbers.")
    if abs(small - 30.7) > 0.5:
        return wrong(f"10,000 images of 3 · 32 · 32 bytes are not {small} million bytes; multiply again, and divide by 1e6.")
    if abs(large - 122.9) > 1:
        return wrong(f"The bytes are right. A float32 takes 32 bits, four bytes: {large} MB is not four times as much.")
    return right("30.7 MB as bytes, 122.9 MB as floats: that is why images stay bytes until a batch is made.")


@exercise
def exercise_2(numbers):
    numbers = [int(number) for number in numbers]
    if sorted(numbers) != list(range(8)):
        return wrong("The list should hold each of the numbers 0 to 7 once: nothing is lost and nothing doubled.")
    if numbers == list(range(8)):
        return wrong("That is the order in memory. reshape reads by index, and after the permute the channel is the last index.")
    if numbers == [0, 2, 1, 3, 4, 6, 5, 7]:
        return wrong("That swaps rows and columns: permute(0, 2, 1). permute(1, 2, 0) puts rows first, then columns, then channels.")
    if numbers == [0, 4, 2, 6, 1, 5, 3, 7]:
        return wrong("The channels are right, but this goes down the columns. The pixels come row by row: (0, 0), (0, 1), (1, 0), (1, 1).")
    if numbers != [0, 4, 1, 5, 2, 6, 3, 7]:
        return wrong(f"It begins {numbers[:2]}. The first two numbers are the two channels of the pixel (0, 0).")
    return right("Pixel after pixel, the two channels of each side by side.")


@exercise
def exercise_3(random_brightness):
    grey = torch.full((256, 3, 4, 4), 0.5)
    out = random_brightness(grey, 0.4, torch.Generator().manual_seed(0))
    if out.shape != grey.shape:
        return wrong(f"The batch came back as {tuple(out.shape)} instead of {tuple(grey.shape)}.")
    if out.std(dim=(1, 2, 3)).max() > 1e-6:
        return wrong("Pixels of one image got different factors: draw one number per image, of shape (B, 1, 1, 1).")
    factors = out[:, 0, 0, 0] / 0.5
    if factors.std() < 1e-6:
        return wrong("All images got the same factor: draw one number for each image, not one for the batch.")
    if not torch.equal(out, random_brightness(grey, 0.4, torch.Generator().manual_seed(0))):
        return wrong("The same generator state gave another result: pass generator=g to torch.rand.")
    if factors.min() < 0.599 or factors.max() > 1.401 or factors.min() > 0.65 or factors.max() < 1.35:
        return wrong(f"Factors run from {factors.min():.2f} to {factors.max():.2f}; for s = 0.4 they should fill 0.6 to 1.4.")
    if random_brightness(torch.ones(64, 3, 4, 4), 0.4, torch.Generator().manual_seed(0)).max() > 1:
        return wrong("A bright image went over 1: clamp the result to 0…1.")
    return right("One factor per image, from the generator, kept within 0…1.")


@exercise
def exercise_4(channel_statistics):
    images = torch.randint(0, 256, (20, 3, 6, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images[:10] //= 4  # images of different brightness, so that a mean of standard deviations is not the standard deviation
    x = images.double() / 255
    mean, std = channel_statistics(images)
    if mean.shape != (3,):
        return wrong(f"The mean has shape {tuple(mean.shape)}; one number per channel, (3,), comes from dim=(0, 2, 3).")
    if torch.allclose(mean.double(), 255 * x.mean((0, 2, 3)), rtol=1e-3):
        return wrong("These are statistics of bytes: divide the pixels by 255 first.")
    if not torch.allclose(mean.double(), x.mean((0, 2, 3)), atol=1e-4):
        return wrong("The means are not those of the channels: average over images, rows and columns, axes 0, 2 and 3.")
    if torch.allclose(std.double(), x.std((2, 3)).mean(0), atol=2e-3):
        return wrong("That is the mean of each image's own standard deviation. Take it over all images at once, dim=(0, 2, 3).")
    if torch.allclose(std.double(), x.var((0, 2, 3)), atol=1e-3):
        return wrong("That is the variance; the standard deviation is its square root.")
    if not torch.allclose(std.double(), x.std((0, 2, 3)), atol=2e-3):
        return wrong("The means are right, the standard deviations are not: take them over the same axes.")
    means, stds = (", ".join(f"{value:.2f}" for value in values) for values in channel_statistics(shapes(500, seed=1).images))
    return right(f"On 500 shapes it gives the means {means} and the standard deviations {stds}; the book uses 0.5 and 0.25.")


@exercise
def exercise_5(images_needed):
    n = float(images_needed)
    if abs(n - 0.75) < 0.01:
        return wrong("The standard error is in shares of 1: half a percentage point is 0.005, not 0.5.")
    if abs(n - 37.5) < 0.5:
        return wrong("Remember to square the standard error: n = p(1-p) / 0.005².")
    if abs(n - 30_000) < 50:
        return wrong("p(1-p) is 0.75 · 0.25, not 0.75.")
    if abs(n - 7500) > 5:
        return wrong(f"{n:g} images give a standard error of {100 * (0.1875 / max(n, 1e-9)) ** 0.5:.2f} points, not 0.5.")
    return right("7,500 images. CIFAR-10's test set of 10,000 gives 0.43 points.")


@exercise
def exercise_6(claim, evidence):
    if isinstance(evidence, dict) and evidence and all(len(runs) and max(runs) < 0.15 for runs in evidence.values()):
        return wrong("All runs are near chance, 10 %: nothing was learned, so nothing can be compared. Train for more epochs.")
    return weigh(claim, evidence, "augmented", "plain", between=(0, 1))
