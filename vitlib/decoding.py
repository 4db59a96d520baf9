"""One image file as a square of pixels: upright, laid on white."""

import functools
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

VERSION = 2  # raise it whenever a file would give other pixels: what was decoded before is then decoded anew

# What counts as an image, and by which suffixes. Pillow knows more, but EPS would start Ghostscript, and HDF5, GRIB,
# MPEG or WMF are nothing it can read alone. A TGA has no mark to be known by, so it is tried last.
FORMATS = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo", "PNG": ".png .apng", "GIF": ".gif", "WEBP": ".webp", "AVIF": ".avif .avifs",
    "BMP": ".bmp", "DIB": ".dib", "TIFF": ".tif .tiff", "JPEG2000": ".jp2 .j2k .jpc .jpf .jpx .j2c",
    "PPM": ".ppm .pgm .pbm .pnm .pfm", "QOI": ".qoi", "PCX": ".pcx", "ICO": ".ico", "SGI": ".sgi .rgb .rgba .bw",
    "PSD": ".psd", "DDS": ".dds", "XBM": ".xbm", "XPM": ".xpm", "TGA": ".tga"}
SUFFIXES = {suffix: name for name, suffixes in FORMATS.items() for suffix in suffixes.split()}
LOSSLESS = {"PNG", "BMP", "DIB", "PPM", "QOI", "PCX", "SGI", "TGA"}  # the others lose something, or may

UPRIGHT = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
           5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
           8: Image.Transpose.ROTATE_90}  # by EXIF's number for how the camera was held

CONTROLS = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 160)]}  # would steer a terminal

heard = threading.local()  # what Pillow warned of in this thread, while it read one file


def decode_image(path: str, size: int) -> tuple[Tensor | None, str]:
    """One image as uint8 (3, size, size), or None, and what is to be said about the file, or "".

    Turned as the camera was held, laid on white where it is transparent, shrunk to cover the square and cropped to it.
    Of an animation the first frame. Values of more than 8 bits in one channel of grey are refused: their scale is not
    known.
    """
    heard.notes = []
    try:
        with Image.open(path, formats=formats()) as image:
            if image.mode[0] in "IF":  # Pillow would clip them
                return None, f"its {image.mode} pixels do not fit into 8 bits; scale them to 0…255 and save it anew"
            image.load()  # some formats hold their EXIF behind the pixels
            turn = orientation(image)
            image = on_white(image)
        image = image.transpose(UPRIGHT[turn]) if turn in UPRIGHT else image
        pixels = pil_to_tensor(image if image.size == (size, size) else ImageOps.fit(image, (size, size)))
        return pixels, "; ".join(heard.notes)
    except Exception as error:  # a decoder may raise anything; whatever it is, it is said of this file
        return None, reason(error)
    finally:
        heard.notes = None


@functools.cache
def formats() -> list[str]:
    """Those of FORMATS that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def orientation(image: Image.Image) -> int:
    """How the camera was held, 1 to 8, by EXIF; 1 where that is unknown.

    Not `ImageOps.exif_transpose`: it writes all of the EXIF anew, and fails where any other entry of it is odd.
    """
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:  # the pixels may be good all the same
        heard.notes.append(f"its EXIF cannot be read ({reason(error)}), so it was not turned")
        return 1
    if found not in range(9):  # 0 is common, and says nothing
        heard.notes.append(f"its EXIF orientation {found!r} is none of 1 to 8, so it was not turned")
        return 1
    return int(found)


def on_white(image: Image.Image) -> Image.Image:
    """As RGB; where the image is transparent, white shows, never what its file hides there."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    background = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def reason(error: Exception) -> str:
    """An error in few words, without the path that stands beside them."""
    if isinstance(error, UnidentifiedImageError):
        return "it cannot be identified as an image"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def printable(path: str | os.PathLike) -> str:
    r"""A path or name that can be printed: bytes that are no UTF-8, and control characters, become \x…"""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace").translate(CONTROLS)


@contextmanager
def listening() -> Iterator[None]:
    """Meanwhile `decode_image` hears what Pillow warns of: those warnings do not name the file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"PIL\.")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # large, and read all the same
        shown = warnings.showwarning

        def hear(message, *rest, **more):
            if getattr(heard, "notes", None) is None:
                shown(message, *rest, **more)
            else:
                heard.notes.append(" ".join(str(message).split()))

        warnings.showwarning = hear
        yield
