"""Shapes: ten classes of drawn objects on textured grounds, with the exact mask of each object.

A shape is a signed distance function: how far a point lies from the outline, negative inside. Clamping the
distance to one pixel gives soft edges. Everything is drawn for a whole batch of images at once.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .data import ImageSet

SHAPES = ("circle", "ring", "crescent", "triangle", "square", "pentagon", "star", "cross", "arrow", "hourglass")

CENTRED = {"scale": (0.6, 0.85), "shift": 0.2}  # in halves of the image's side
SCATTERED = {"scale": (0.35, 0.55), "shift": 0.45}


def shapes(count: int, seed: int = 0, size: int = 32, scattered: bool = False) -> ImageSet:
    """Draw `count` images of `size`×`size` pixels, classes in equal shares, the same for the same seed.

    Objects are large and near the centre, or, if `scattered`, smaller and spread out.
    Returns an ImageSet with masks. Raises ValueError for fewer images than classes or a size under 8.
    """
    if count < len(SHAPES) or size < 8:
        raise ValueError(f"shapes draws at least {len(SHAPES)} images of at least 8 pixels, got {count} of {size}")
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count)[torch.randperm(count, generator=g)] % len(SHAPES)
    where = SCATTERED if scattered else CENTRED
    images, masks = zip(*(draw(part, size, g, where) for part in labels.split(1000)))  # 1000 at a time: little memory
    return ImageSet(torch.cat(images), labels, SHAPES, torch.cat(masks), "Shapes, scattered" if scattered else "Shapes")


def draw(labels: Tensor, size: int, g: torch.Generator, where: dict) -> tuple[Tensor, Tensor]:
    """Labels (B,) and where objects stand -> images (B, 3, size, size) uint8 and masks (B, size, size) bool."""
    B = len(labels)
    image = texture(B, size, g)
    colour, background = random_colours(B, g)
    image = (background + 0.25 * image).clamp(0, 1)
    for _ in range(2):  # distractors: small discs in other colours
        disc = place(B, size, g, scale=(0.08, 0.18), shift=0.9)
        image = blend(image, torch.rand(B, 3, 1, 1, generator=g), cover(circle(disc[0]), disc[1], size))
    points, scale = place(B, size, g, **where)
    distance = torch.empty(B, size * size)
    for k, name in enumerate(SHAPES):
        distance[labels == k] = OUTLINES[name](points[labels == k])
    alpha = cover(distance, scale, size)  # (B, size, size)
    image = blend(image, colour + 0.08 * texture(B, size, g), alpha)
    image = image + 0.03 * torch.randn(image.shape, generator=g)
    return (image.clamp(0, 1) * 255).round().to(torch.uint8), alpha > 0.5


def texture(B: int, size: int, g: torch.Generator) -> Tensor:
    """Smooth noise in [-1, 1] of a coarse and a finer grain: (B, 3, size, size)."""
    coarse, fine = (torch.rand(B, 3, n, n, generator=g) for n in (4, 11))
    grow = {"size": (size, size), "mode": "bilinear", "align_corners": False}
    return F.interpolate(coarse, **grow) + F.interpolate(fine, **grow) - 1


def random_colours(B: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two colours an image, one light and one dark, in either role: (B, 3, 1, 1) each."""
    light, dark = (darkest + 0.55 * torch.rand(B, 3, 1, 1, generator=g) for darkest in (0.45, 0))
    swap = torch.rand(B, 1, 1, 1, generator=g) < 0.5
    return torch.where(swap, dark, light), torch.where(swap, light, dark)


def place(B: int, size: int, g: torch.Generator, scale: tuple[float, float], shift: float) -> tuple[Tensor, Tensor]:
    """Pixel centres in each object's own coordinates, (B, size², 2), and the objects' scales (B, 1)."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], dim=-1).reshape(1, -1, 2)  # (1, size², 2), in [-1, 1]
    scales = scale[0] + (scale[1] - scale[0]) * torch.rand(B, 1, generator=g)
    centre = shift * (2 * torch.rand(B, 1, 2, generator=g) - 1)
    turn = math.radians(20) * (2 * torch.rand(B, generator=g) - 1)
    cos, sin = turn.cos(), turn.sin()
    rotation = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)  # (B, 2, 2)
    return (grid - centre) @ rotation / scales[:, :, None], scales


def cover(distance: Tensor, scale: Tensor, size: int) -> Tensor:
    """Share of each pixel that lies inside: (B, size²) distances -> (B, size, size) in [0, 1]."""
    return (0.5 - distance * scale * size / 2).clamp(0, 1).reshape(-1, size, size)


def blend(image: Tensor, colour: Tensor, alpha: Tensor) -> Tensor:
    """Paint `colour` over `image` where `alpha` is 1."""
    return image + alpha[:, None] * (colour - image)


def circle(p: Tensor, radius: float = 0.9) -> Tensor:
    """Signed distance of points (B, P, 2) to a circle: (B, P)."""
    return p.norm(dim=-1) - radius


def crescent(p: Tensor) -> Tensor:
    """Signed distance to a disc with a bite taken out of its right side: (B, P, 2) -> (B, P)."""
    bite = (p - torch.tensor([0.5, 0.0])).norm(dim=-1) - 0.75
    return torch.maximum(circle(p), -bite)


def polygon(vertices: list[tuple[float, float]]):
    """The signed distance to a closed polygon, as a function of points (B, P, 2) -> (B, P)."""
    corners = torch.tensor(vertices)

    def distance(p: Tensor) -> Tensor:
        nearest, inside = torch.full(p.shape[:-1], torch.inf), torch.zeros(p.shape[:-1], dtype=torch.bool)
        for a, b in zip(corners, corners.roll(-1, 0)):
            edge, to_p = b - a, p - a
            along = ((to_p @ edge) / (edge @ edge)).clamp(0, 1)  # where on the edge the closest point lies
            nearest = torch.minimum(nearest, (to_p - along[..., None] * edge).norm(dim=-1))
            crosses = (a[1] > p[..., 1]) != (b[1] > p[..., 1])  # does a ray to the right meet this edge?
            slope = edge[0] / torch.where(edge[1] == 0, 1.0, edge[1])
            inside ^= crosses & (p[..., 0] < a[0] + (p[..., 1] - a[1]) * slope)
        return torch.where(inside, -nearest, nearest)

    return distance


def regular(corners: int, inner: float | None = None) -> list[tuple[float, float]]:
    """Corners of a regular polygon, or of a star whose notches have radius `inner`; the first points up."""
    radii = [0.95] if inner is None else [0.95, inner]
    n = corners * len(radii)
    return [(radii[i % len(radii)] * math.sin(2 * math.pi * i / n),
             -radii[i % len(radii)] * math.cos(2 * math.pi * i / n)) for i in range(n)]


OUTLINES = {
    "circle": circle,
    "ring": lambda p: circle(p, 0.68).abs() - 0.22,
    "crescent": crescent,
    "triangle": polygon(regular(3)),
    "square": polygon([(-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)]),
    "pentagon": polygon(regular(5)),
    "star": polygon(regular(5, inner=0.4)),
    "cross": polygon([(-.3, -.9), (.3, -.9), (.3, -.3), (.9, -.3), (.9, .3), (.3, .3),
                      (.3, .9), (-.3, .9), (-.3, .3), (-.9, .3), (-.9, -.3), (-.3, -.3)]),
    "arrow": polygon([(-.9, -.25), (.1, -.25), (.1, -.75), (.95, 0), (.1, .75), (.1, .25), (-.9, .25)]),
    "hourglass": polygon([(-.75, -.9), (.75, -.9), (.18, 0), (.75, .9), (-.75, .9), (-.18, 0)]),
}
