"""Small models and data that several test files share."""

import torch
from PIL import Image

from vitlib.data import ImageSet
from vitlib.train import TrainConfig
from vitlib.vit import ViTConfig

TINY = ViTConfig(image_size=8, patch_size=4, dim=16, depth=2, heads=2, classes=3)
PLAIN = TrainConfig(epochs=2, batch_size=8, crop=0, flip=False, warmup=0.25)


def randomise(model, std=0.1):
    """Draw every trainable parameter anew: at its default values a model hides most bugs."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, std)
    return model


def pictures(count=24, size=8, classes=3):
    """Random images whose first channel gives the class away."""
    g = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 3, size, size), generator=g, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    images[:, 0] = (labels * 80).to(torch.uint8)[:, None, None]
    return ImageSet(images, labels, tuple("abcdefghij"[:classes]))


def write_folder(root, classes=("cat", "dog"), count=3, size=(8, 8), suffix=".png"):
    """root/<class>/<i>.png, each image of one colour: red tells the class, green the image."""
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (100 * k, 10 * i, 50)).save(root / name / f"{i}{suffix}")
    return root
