"""What figures are drawn from: tensors, arrays and lists of them, as NumPy arrays of a shape that can be drawn."""

import numpy as np
from torch import Tensor


def as_array(values) -> np.ndarray:
    """Tensors, arrays, or lists of them or of numbers, as one NumPy array; half precision becomes float32."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.is_floating_point() and values.itemsize < 4 else values).numpy()
    if isinstance(values, list | tuple):
        return np.asarray([as_array(value) for value in values])
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def as_picture(image) -> np.ndarray:
    """(C, H, W), uint8 or floats in 0…1, to what imshow draws: (H, W, C). A map (H, W) stays as it is.

    Raises ValueError for another shape or dtype.
    """
    array = as_array(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and len(array) not in (1, 3, 4)) or not array.size:
        raise ValueError(f"a picture is (C, H, W) with 1, 3 or 4 channels, or a map (H, W), got {array.shape}")
    if array.dtype != np.uint8 and array.dtype.kind not in "fb":
        raise ValueError(f"a picture holds uint8 in 0…255 or floats in 0…1, got {array.dtype}; convert it")
    array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    return array if array.dtype == np.uint8 else array.astype(float).clip(0, 1)


def as_maps(maps, shape: str) -> np.ndarray:
    """Maps as an array. Raises ValueError for another rank than that of `shape`, for none, or for nan and infinity."""
    array = as_array(maps)
    if array.ndim != shape.count(",") + 1 or not array.size or not np.isfinite(array).all():
        finite = "" if np.isfinite(array).all() else ", not all of them finite"
        raise ValueError(f"expected maps {shape} of finite numbers, got {array.shape}{finite}")
    return array


def as_matrix(values) -> np.ndarray:
    """Values (rows, columns) as an array. Raises ValueError for another rank, or none."""
    array = as_array(values)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"expected values (rows, columns), got {array.shape}")
    return array


def check_overlay(images, maps: np.ndarray) -> None:
    """Raise ValueError unless there is a map for each image, whose rows and columns divide its height and width."""
    shapes = {np.shape(image)[-2:] for image in images}
    if len(images) != len(maps) or any(side % n for shape in shapes for side, n in zip(shape, maps.shape[1:])):
        sizes = ", ".join(f"{height}×{width}" for height, width in sorted(shapes))
        raise ValueError(f"{len(images)} images of {sizes} pixels do not fit maps {maps.shape}: each needs its map, "
                         "and rows and columns must divide height and width")
