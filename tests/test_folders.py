"""A folder of images is read whole, or says what it left out and why."""

import os

import pytest
import torch
from common import write_folder
from PIL import Image

from vitlib import folders as module
from vitlib.folders import load_folder

pytestmark = pytest.mark.usefixtures("home")


def test_a_folder_becomes_labelled_images(tmp_path):
    data = load_folder(write_folder(tmp_path / "pets" / "train"), 8)
    assert data.images.shape == (6, 3, 8, 8)
    assert (data.classes, data.name) == (("cat", "dog"), "pets")
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.images[:, 0, 0, 0].tolist() == [0, 0, 0, 100, 100, 100]
    assert data.images[:, 1, 5, 5].tolist() == [0, 10, 20, 0, 10, 20]


def test_grey_transparent_palette_and_oblong_images_become_rgb_squares(tmp_path):
    folder = write_folder(tmp_path / "x", count=1)
    for mode, colour in (("L", 77), ("LA", (77, 255)), ("RGBA", (77, 77, 77, 255)), ("1", 1)):
        Image.new(mode, (8, 8), colour).save(folder / "cat" / f"{mode}.png")
    Image.new("RGB", (8, 8), (77, 77, 77)).quantize(2).save(folder / "cat" / "P.png")
    Image.new("CMYK", (8, 8), (178, 178, 178, 0)).save(folder / "cat" / "CMYK.jpg")
    oblong = Image.new("RGB", (30, 10), (0, 0, 0))
    oblong.paste((200, 200, 200), (10, 0, 20, 10))  # the middle third
    oblong.save(folder / "dog" / "oblong.png")
    oblong.rotate(90, expand=True).save(folder / "dog" / "upright.bmp")
    data = load_folder(folder, 8)
    names = sorted(p.name for p in (folder / "cat").iterdir()) + sorted(p.name for p in (folder / "dog").iterdir())
    images = dict(zip(names, data.images, strict=True))
    assert data.images.shape == (10, 3, 8, 8)
    for name in ("L.png", "LA.png", "RGBA.png", "P.png", "CMYK.jpg"):
        assert (images[name].int() - 77).abs().max() <= 3, name
    assert (images["1.png"] == 255).all()
    for name in ("oblong.png", "upright.bmp"):
        assert (images[name][:, 2:6, 2:6] == 200).all(), name  # cropped in the middle, not squeezed
        assert images[name].float().mean() > 150, name


def test_other_files_and_hidden_folders_are_passed_over(tmp_path):
    folder = write_folder(tmp_path / "x")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "readme.txt").write_text("hello", encoding="utf-8")
    (folder / "cat" / "notes.txt").write_text("hello", encoding="utf-8")
    data = load_folder(folder, 8)
    assert (data.classes, len(data)) == (("cat", "dog"), 6)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path}/none; expected {tmp_path}/none/<class>/<image>"):
        load_folder(tmp_path / "none")


def test_empty_and_one_class_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} has 0 classes with images; expected two or more.*jpg"):
        load_folder(tmp_path)
    write_folder(tmp_path, classes=("cat",))
    with pytest.raises(ValueError, match="has 1 classes with images; expected two or more"):
        load_folder(tmp_path)
    (tmp_path / "dog").mkdir()
    (tmp_path / "eel").mkdir()
    with pytest.raises(ValueError, match=r"has 1 classes with images \(dog, eel empty\)"):
        load_folder(tmp_path)


def test_a_truncated_jpeg_is_named_and_the_others_are_kept(tmp_path, home):
    folder = write_folder(tmp_path / "x", count=2)
    noise = Image.effect_noise((64, 64), 50).convert("RGB")
    for name in ("good", "broken"):
        noise.save(folder / "cat" / f"{name}.jpg")
    whole = (folder / "cat" / "broken.jpg").read_bytes()
    (folder / "cat" / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "dog" / "text.png").write_text("no image", encoding="utf-8")
    with pytest.warns(UserWarning, match="left out 2 of 7 images.*broken.jpg.*truncated.*text.png.*cannot identify"):
        data = load_folder(folder, 8)
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    Image.new("I;16", (8, 8), 1000).save(folder / "cat" / "deep.png")  # would be clipped to white
    with pytest.warns(UserWarning, match="left out 3 of 8 images.*deep.png.*do not fit into 8 bits; convert"):
        load_folder(folder, 8)
    assert not list(home.rglob("folder-*"))  # so that the next load warns again


def test_a_folder_without_one_readable_image_is_named(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / "a.jpg").write_text("no image", encoding="utf-8")
    with (pytest.warns(UserWarning, match="left out 2 of 2"),
          pytest.raises(ValueError, match=f"none of the 2 images in {tmp_path}/x can be read")):
        load_folder(tmp_path / "x")


def no_decoding(monkeypatch):
    def fail(path, size):
        raise AssertionError(f"decoded {path} again")
    monkeypatch.setattr(module, "decode_image", fail)


def test_the_second_load_reads_the_cache(tmp_path, home, monkeypatch):
    folder = write_folder(tmp_path / "x")
    first = load_folder(folder, 8)
    assert len(list((home / ".cache" / "vitlib").iterdir())) == 1
    no_decoding(monkeypatch)
    second = load_folder(folder, 8)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)


def test_a_changed_an_added_and_a_removed_file_are_seen(tmp_path):
    folder = write_folder(tmp_path / "x")
    path = folder / "cat" / "0.png"
    load_folder(folder, 8)
    before = path.stat()
    Image.new("RGB", (8, 8), (7, 7, 7)).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert (load_folder(folder, 8).images[0] == 7).all()
    Image.new("RGB", (8, 8), (9, 9, 9)).save(folder / "cat" / "00.png")
    assert len(load_folder(folder, 8)) == 7
    path.unlink()
    assert len(load_folder(folder, 8)) == 6
    assert load_folder(folder, 16).images.shape[-1] == 16


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_a_corrupt_cache_is_ignored_and_mended(tmp_path, home, monkeypatch, content):
    folder = write_folder(tmp_path / "x")
    first = load_folder(folder, 8)
    next((home / ".cache" / "vitlib").iterdir()).write_bytes(content)
    assert torch.equal(load_folder(folder, 8).images, first.images)
    no_decoding(monkeypatch)
    assert torch.equal(load_folder(folder, 8).images, first.images)


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, home):
    home.mkdir()
    (home / ".cache").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.warns(UserWarning, match="cannot keep the decoded images in .*read anew"):
        assert len(load_folder(write_folder(tmp_path / "x"), 8)) == 6
