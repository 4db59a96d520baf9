"""One image file becomes a square of pixels, or is left out by name; whatever is wrong with it, the load goes on."""

import os
import struct
import warnings

import pytest
import torch
from common import write_folder
from PIL import EpsImagePlugin, Image, ImageOps, JpegImagePlugin, features
from torchvision.transforms.functional import pil_to_tensor

from vitlib import decoding
from vitlib.folders import load_folder

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def cat(tmp_path):
    """The folder of one of two classes: put images there, then `read` them."""
    write_folder(tmp_path / "x", count=1)
    (tmp_path / "x" / "cat" / "0.png").unlink()
    return tmp_path / "x" / "cat"


def read(cat, size=8):
    """The cats by their file's name; there must be no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load_folder(cat.parent, size)
    return dict(zip(sorted(os.listdir(cat)), data.images[data.labels == 0], strict=True))


def left_out(cat, words):
    """Read what can be read beside one good cat, and expect the words in a warning."""
    Image.new("RGB", (8, 8), "red").save(cat / "good.png")
    with pytest.warns(UserWarning, match=words):
        data = load_folder(cat.parent, 8)
    assert data.labels.tolist() == [0, 1]


def noise(size=(24, 16), mode="RGB"):
    bands = [Image.effect_noise(size, 90) for _ in mode]
    return Image.merge(mode, bands) if len(bands) > 1 else bands[0]


def test_plain_images_keep_the_pixels_that_pillow_gives(cat):
    noise().save(cat / "a.jpg", quality=90)
    noise((8, 8)).save(cat / "b.jpg")
    noise((9, 30), "L").save(cat / "c.jpg")
    noise((30, 11)).save(cat / "d.png")
    noise((30, 11)).quantize(50).save(cat / "e.png")
    noise((16, 16), "CMYK").save(cat / "f.jpg")
    for name, image in read(cat).items():
        with Image.open(cat / name) as expected:
            assert torch.equal(image, pil_to_tensor(ImageOps.fit(expected.convert("RGB"), (8, 8)))), name


def test_what_transparency_hides_is_white(cat):
    hidden = {"RGBA": (90, 0, 7, 0), "LA": (90, 0)}
    for mode, colour in hidden.items():
        Image.new(mode, (8, 8), colour).save(cat / f"{mode}.png")
    Image.new("RGB", (8, 8), (90, 0, 7)).save(cat / "RGB, one colour.png", transparency=(90, 0, 7))
    Image.new("L", (8, 8), 90).save(cat / "L, one grey.png", transparency=90)
    Image.new("1", (8, 8), 0).save(cat / "1, one bit.png", transparency=0)
    palette = Image.new("RGB", (8, 8), (90, 0, 7)).quantize(2)
    palette.save(cat / "P, one entry.png", transparency=palette.getpixel((0, 0)))
    palette.save(cat / "P, all entries.png", transparency=bytes(palette.getpixel((0, 0)) + 1))
    palette.save(cat / "P, one entry.gif", transparency=palette.getpixel((0, 0)))
    Image.new("RGBA", (8, 8), (90, 0, 7, 0)).save(cat / "RGBA.webp", lossless=True, exact=True)
    Image.new("RGBA", (8, 8), (90, 0, 7, 0)).save(cat / "RGBA.tif")
    images = read(cat)
    assert len(images) == 10
    for name, image in images.items():
        assert (image == 255).all(), f"{name}: {image[:, 0, 0].tolist()}"


def test_two_images_that_look_alike_are_alike_and_half_transparent_is_between(cat):
    alpha = Image.linear_gradient("L").resize((8, 8))
    for name, hidden in (("a", (0, 0, 0)), ("b", (95, 95, 95))):
        image = Image.new("RGB", (8, 8), (10, 20, 30))
        image.paste(hidden, (0, 0, 8, 1))
        alpha.paste(0, (0, 0, 8, 1))
        image.putalpha(alpha)
        image.save(cat / f"{name}.png")
    Image.new("RGBA", (8, 8), (0, 100, 255, 128)).save(cat / "half.png")
    images = read(cat)
    assert torch.equal(images["a.png"], images["b.png"])
    assert (images["half.png"][:, 0, 0] - torch.tensor([127, 177, 255])).abs().max() <= 1


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "RGBa"])
def test_each_mode_with_transparency_lies_on_white(mode):
    image = Image.new("RGBA", (2, 2), (90, 90, 90, 0)).convert(mode)
    assert pil_to_tensor(decoding.on_white(image)).eq(255).all()


def exif(*entries):
    """EXIF of entries (tag, type, count, up to four bytes)."""
    rows = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + rows + bytes(4)


TURNED = (0x112, 3, 1, b"\6\0")  # a quarter, to the right


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("number", range(1, 9))
def test_images_are_turned_as_the_camera_was_held(cat, number, suffix):
    with Image.new("RGB", (8, 8)) as image:
        image.paste("white", (0, 0, 4, 2))
        about = Image.Exif()
        about[0x112] = number
        image.save(cat / f"a{suffix}", exif=about)
    corner = {1: (0, 0), 2: (0, 7), 3: (7, 7), 4: (7, 0), 5: (0, 0), 6: (0, 7), 7: (7, 7), 8: (7, 0)}[number]
    lit = read(cat)[f"a{suffix}"][0] > 128  # (H, W)
    assert lit[corner] and lit.sum() == 8
    assert (lit.sum(0).max(), lit.sum(1).max()) == ((2, 4) if number < 5 else (4, 2))


@pytest.mark.parametrize("entry", [(0x128, 2, 2, b"a"), (0x128, 11, 1, struct.pack("<f", 2)), (0x11A, 2, 2, b"a")])
def test_odd_entries_beside_the_orientation_change_nothing(cat, entry):
    image = noise((16, 8))
    image.save(cat / "a.png", exif=exif(TURNED, entry))
    image.save(cat / "b.png", exif=exif(TURNED))
    images = read(cat)
    assert torch.equal(images["a.png"], images["b.png"])
    assert not torch.equal(images["a.png"], pil_to_tensor(ImageOps.fit(image, (8, 8))))


@pytest.mark.parametrize(("content", "words", "turned"), [
    (exif((0x112, 2, 2, b"6")), "EXIF orientation '6' is none of 1 to 8, so it was not turned", False),
    (exif((0x112, 3, 1, b"\x63")), "EXIF orientation 99 is none of 1 to 8", False),
    (exif(TURNED)[:-12], "Corrupt EXIF data", False),
    (exif(TURNED, (0x11A, 5, 1, b"\xff\xff\xff")), "Truncated File Read", True)],
    ids=["text", "99", "cut off", "points outside"])
def test_an_image_whose_exif_is_odd_is_read_and_named(cat, content, words, turned):
    image = noise((8, 8))
    image.save(cat / "a.jpg", exif=exif(TURNED) if turned else b"")
    image.save(cat / "b.jpg", exif=content)
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=f"read, but odd: {cat}/b.jpg .*{words}") as said:
            data = load_folder(cat.parent, 8)
        assert len(said) == 1
        assert data.labels.tolist() == [0, 0, 1]
        assert torch.equal(data.images[0], data.images[1])


def test_exif_that_raises_leaves_the_pixels_as_they_are(cat, monkeypatch):
    def broken(self):
        raise struct.error("unpack requires a buffer of 2 bytes")

    noise((8, 8)).save(cat / "a.jpg")
    monkeypatch.setattr(Image.Image, "getexif", broken)
    with pytest.warns(UserWarning, match="read, but odd: .*a.jpg .*EXIF cannot be read .*a buffer.*not turned"):
        assert len(load_folder(cat.parent, 8)) == 2


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow was built without AVIF")
def test_a_broken_avif_is_named(cat):
    noise((64, 64)).save(cat / "b.avif")
    content = (cat / "b.avif").read_bytes()
    start = content.index(b"mdat") + 4
    (cat / "b.jpg").write_bytes(content[:start] + bytes(255 - byte for byte in content[start:]))
    (cat / "b.avif").unlink()
    left_out(cat, f"left out 1 of 3 images.*{cat}/b.jpg .*ecod")


@pytest.mark.parametrize("error", [RuntimeError, TypeError, struct.error, KeyError, AssertionError, MemoryError,
                                   ZeroDivisionError, RecursionError, OverflowError])
def test_whatever_a_decoder_raises_is_said_of_its_file(cat, monkeypatch, error):
    def load(self):
        if self.filename.endswith("bad.jpg"):
            raise error("odd bytes")
        return plain(self)

    plain = JpegImagePlugin.JpegImageFile.load
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", load)
    noise().save(cat / "bad.jpg")
    left_out(cat, f"{cat}/bad.jpg .*odd bytes")


SUFFIXES_TO_READ = [".JPG", ".jpeg", ".jpe", ".jfif", ".Gif", ".tif", ".TIFF", ".avif", ".jp2", ".ppm", ".tga", ".pcx",
                    ".ico", ".sgi", ".dds", ".dib", ".apng", ".qoi"]


@pytest.mark.parametrize("suffix", SUFFIXES_TO_READ)
def test_each_format_is_read(cat, suffix):
    form = decoding.SUFFIXES[suffix.lower()]
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    Image.new("RGB", (16, 16), (200, 100, 0)).save(cat / f"a{suffix}", format=form)
    image = read(cat)[f"a{suffix}"]
    assert (image.int() - torch.tensor([200, 100, 0])[:, None, None]).abs().max() <= 8


def test_formats_and_suffixes_are_pillows():
    registered = Image.registered_extensions()
    for suffix, form in decoding.SUFFIXES.items():
        if form in decoding.formats():
            assert registered[suffix] == {".mpo": "MPO"}.get(suffix, form), suffix
    assert set(decoding.FORMATS) - set(decoding.formats()) <= {"AVIF", "JPEG2000", "QOI"}  # not in every build
    assert set(decoding.FORMATS) >= decoding.LOSSLESS
    assert not {"EPS", "PDF", "HDF5", "MPEG", "WMF"} & set(decoding.FORMATS)


def test_postscript_called_jpg_starts_nothing(cat, monkeypatch):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **more: started.append(args))
    (cat / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    left_out(cat, f"{cat}/a.jpg .*cannot be identified")
    assert not started


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_frame_is_read(cat, suffix):
    first, second = Image.new("RGB", (8, 8), (200, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 200))
    first.save(cat / f"a{suffix}", save_all=True, append_images=[second])
    image = read(cat)[f"a{suffix}"][:, 0, 0].tolist()
    assert image[0] > 190 and image[2] < 10


@pytest.mark.parametrize(("mode", "name"), [("I;16", "a.png"), ("I;16", "a.tif"), ("F", "a.tif"), ("I", "a.tif")])
def test_deeper_pixels_are_named_and_not_clipped(cat, mode, name):
    Image.new(mode, (8, 8), 1000).save(cat / name)
    left_out(cat, f"{cat}/{name} .*{mode} pixels do not fit into 8 bits; scale them to 0…255")


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 1), (7, 9)])
def test_any_shape_of_image_covers_the_square(cat, size):
    Image.new("RGB", size, (200, 100, 0)).save(cat / "a.png")
    assert (read(cat)["a.png"] == torch.tensor([200, 100, 0])[:, None, None]).all()


@pytest.mark.parametrize("content", [b"", b"GIF89a" + bytes(7) + b";", b"P6 0 0 255\n", b"\xff\xd8\xff", bytes(99)])
def test_empty_files_and_images_without_pixels_are_named(cat, content):
    (cat / "a.gif").write_bytes(content)
    (cat / "b.jpg").write_bytes(content)
    left_out(cat, f"left out 2 of 4 images.*{cat}/a.gif .*{cat}/b.jpg ")


def test_large_images_are_read_and_bombs_are_named(cat, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow warns above it, and refuses twice as many
    Image.new("RGB", (15, 10), (9, 9, 9)).save(cat / "a.png")
    assert (read(cat)["a.png"] == 9).all()
    Image.new("RGB", (1, 1)).save(cat / "a.png")
    Image.new("RGB", (20, 20)).save(cat / "bomb.png")
    (cat / "a.png").unlink()
    left_out(cat, f"{cat}/bomb.png .*exceeds limit of 200 pixels")


def test_warnings_of_others_pass_while_images_are_read():
    with pytest.warns(UserWarning, match="from elsewhere"), decoding.listening():
        warnings.warn("from elsewhere", stacklevel=1)
