"""A folder of images is read whole, or says what it left out and why."""

import os
import warnings

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


def quiet_load(folder, size=8):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_folder(folder, size)


def test_hidden_files_and_litter_of_systems_are_passed_over(tmp_path, home):
    folder = write_folder(tmp_path / "x")
    for name in (".ipynb_checkpoints", "__MACOSX", "__MACOSX/cat", "@eaDir", "cat/@eaDir", "lost+found", "cat/.hidden"):
        (folder / name).mkdir()
        (folder / name / "a.jpg").write_text("no image", encoding="utf-8")
    for name in ("._0.png", "cat/._0.png", "cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini"):
        (folder / name).write_text("no image", encoding="utf-8")
    data = quiet_load(folder)
    assert (data.classes, len(data)) == (("cat", "dog"), 6)
    assert list(home.rglob("folder-*"))  # they keep nothing from being kept


def test_files_of_other_kinds_are_counted_by_suffix(tmp_path):
    folder = write_folder(tmp_path / "x")
    for name in ("readme.txt", "cat/notes.txt", "cat/deeper.HEIC", "dog/LICENSE"):
        (folder / name).write_text("hello", encoding="utf-8")
    with pytest.warns(UserWarning, match=f"left out 4 files in {folder} that are no images by their suffix: "
                                         "1 .heic, 2 .txt, 1 without suffix") as said:
        assert len(load_folder(folder, 8)) == 6
    assert len(said) == 1


def test_images_beside_the_classes_are_named(tmp_path):
    folder = write_folder(tmp_path / "x")
    Image.new("RGB", (8, 8)).save(folder / "stray.jpg")
    with pytest.warns(UserWarning, match=f"left out 1 of 7 images.*{folder}/stray.jpg .*in no class"):
        assert len(load_folder(folder, 8)) == 6


def test_images_in_deeper_folders_belong_to_the_class_and_links_are_followed(tmp_path):
    folder = write_folder(tmp_path / "x", count=1)
    write_folder(folder / "cat" / "indoors", classes=("a", "b.png"), count=2)
    write_folder(tmp_path / "elsewhere", classes=("eel",), count=3)
    (folder / "eel").symlink_to(tmp_path / "elsewhere" / "eel")
    (folder / "dog" / "link.png").symlink_to(tmp_path / "elsewhere" / "eel" / "2.png")
    data = quiet_load(folder)
    assert data.classes == ("cat", "dog", "eel")
    assert data.labels.tolist() == [0] * 5 + [1] * 2 + [2] * 3


def test_a_link_that_leads_upwards_is_no_endless_way(tmp_path):
    folder = write_folder(tmp_path / "x", count=1)
    (folder / "cat" / "again").symlink_to(folder / "cat")
    (folder / "dog" / "all").symlink_to(folder)
    assert quiet_load(folder).labels.tolist() == [0, 1]


def test_the_order_is_that_of_names_whatever_the_disk_says(tmp_path, monkeypatch):
    names = ("Cat", "cat", "cat!", "cat-x", "cat.png")
    folder = write_folder(tmp_path / "x", classes=names, count=2)
    Image.new("RGB", (8, 8), (0, 99, 0)).save(folder / "cat" / "0.PNG")
    write_folder(folder / "cat", classes=("0",), count=1)
    first = quiet_load(folder)
    assert first.classes == names
    assert first.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4]
    assert first.images[2:6, 1, 0, 0].tolist() == [0, 99, 0, 10]  # 0/0.png, 0.PNG, 0.png, 1.png
    plain = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(plain(path), reverse=True))
    again = quiet_load(folder, 9)  # decoded anew
    assert torch.equal(again.labels, first.labels) and torch.equal(again.images[:, :, 0, 0], first.images[:, :, 0, 0])


def test_names_that_are_no_utf8_are_read_and_can_be_printed(tmp_path):
    folder = write_folder(tmp_path / os.fsdecode(b"pictur\xe9s"), count=1)
    for name in (b"cat/\xff.png", b"cat/bad \xff.png", b"caf\xe9/0.png"):
        path = os.fsencode(folder) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Image.new("RGB", (8, 8), (7, 7, 7)).save(os.fsdecode(path))
    quiet_load(folder)
    with open(os.fsencode(folder) + b"/cat/bad \xff.png", "wb") as file:
        file.write(b"no image")
    with pytest.warns(UserWarning, match=r"bad \\xff.png") as said:
        data = load_folder(folder, 8)
    assert data.classes == (r"caf\xe9", "cat", "dog") and data.name == r"pictur\xe9s"
    assert data.labels.tolist() == [0, 1, 1, 2]
    f"{said[0].message} {data.classes} {data.name}".encode()  # as print does


def test_names_cannot_steer_the_terminal(tmp_path):
    folder = write_folder(tmp_path / "x", classes=("cat", "dog\x1b[2J"))
    (folder / "cat" / "a\nb.jpg").write_text("no image", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"/cat/a\\x0ab.jpg "):
        assert load_folder(folder, 8).classes == ("cat", r"dog\x1b[2J")


def test_dead_links_pipes_and_loops_are_named(tmp_path, home):
    folder = write_folder(tmp_path / "x")
    (folder / "cat" / "dead.jpg").symlink_to("nowhere.jpg")
    (folder / "cat" / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "dog" / "pipe.jpg")
    words = f"left out 3 of 9.*{folder}/cat/dead.jpg .*leads nowhere.*/cat/loop.jpg .*/dog/pipe.jpg .*no regular file"
    for _ in range(2):
        with pytest.warns(UserWarning, match=words):
            assert len(load_folder(folder, 8)) == 6
    assert list(home.rglob("folder-*"))  # each load finds them again, so the others are kept


def test_a_folder_in_a_class_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    folder = write_folder(tmp_path / "x")
    (folder / "cat" / "locked").mkdir()
    deny(monkeypatch, folder / "cat" / "locked")
    with pytest.warns(UserWarning, match=f"{folder}/cat/locked .*Permission denied"):
        assert len(load_folder(folder, 8)) == 6
    deny(monkeypatch, folder / "cat")
    with pytest.raises(ValueError, match=rf"\(cat without one\).*{folder}/cat \(Permission denied\)"):
        load_folder(folder, 8)
    deny(monkeypatch, folder)
    with pytest.raises(PermissionError, match=f"{folder}"):
        load_folder(folder, 8)


def deny(monkeypatch, folder):
    """As for another user; the tests may run as root, who is denied nothing."""
    plain = os.listdir

    def listdir(path):
        if os.fspath(path) == os.fspath(folder):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return plain(path)
    monkeypatch.setattr(os, "listdir", listdir)


def test_many_bad_files_are_counted_and_twenty_of_them_named(tmp_path):
    folder = write_folder(tmp_path / "x")
    for i in range(30):
        (folder / "cat" / f"bad{i:02}.jpg").write_text("no image", encoding="utf-8")
    with pytest.warns(UserWarning, match="left out 30 of 36 images.*bad19.jpg.*; and 10 more") as said:
        load_folder(folder, 8)
    assert "bad20" not in str(said[0].message)


def test_the_folder_here_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write_folder(tmp_path / "pets" / "val"))
    assert load_folder(".", 8).name == "pets"
    assert load_folder("../val", 8).name == "pets"


@pytest.mark.parametrize("size", [0, -1, 8.0, "8", True])
def test_a_size_that_is_none_is_named(tmp_path, size):
    with pytest.raises(ValueError, match=f"image_size is a number of pixels, 1 or more, got {size!r}"):
        load_folder(write_folder(tmp_path / "x"), size)


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_data_set_with_its_parts_is_no_folder_of_classes(tmp_path, test):
    for part in ("train", test):
        write_folder(tmp_path / "x" / part)
    with pytest.raises(ValueError, match=f"{tmp_path}/x holds the parts of a data set .*not classes.*/x/train"):
        load_folder(tmp_path / "x", 8)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no folder {tmp_path}/none; expected {tmp_path}/none/<class>/<image>"):
        load_folder(tmp_path / "none")
    (tmp_path / "x.zip").write_text("", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/x.zip is a file, not a folder"):
        load_folder(tmp_path / "x.zip")
    with pytest.raises(FileNotFoundError, match="there is no folder .*~nobody-has-this-name/x"):
        load_folder("~nobody-has-this-name/x")


def test_empty_and_one_class_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} has 0 classes with images; expected two or more.*jpg"):
        load_folder(tmp_path)
    write_folder(tmp_path, classes=("cat",))
    with pytest.raises(ValueError, match="has 1 classes with images; expected two or more"):
        load_folder(tmp_path)
    (tmp_path / "dog").mkdir()
    (tmp_path / "eel").mkdir()
    with pytest.raises(ValueError, match=r"has 1 classes with images \(dog, eel without one\)"):
        load_folder(tmp_path)
    (tmp_path / "dog").rmdir()
    (tmp_path / "eel").rmdir()
    write_folder(tmp_path, classes=("dog",))
    (tmp_path / "eel").symlink_to("nowhere")  # a disk that is not mounted
    with pytest.raises(ValueError, match=rf"2 classes with images \(eel without one\).*{tmp_path}/eel .*leads nowhere"):
        load_folder(tmp_path)


def test_a_truncated_jpeg_is_named_and_the_others_are_kept(tmp_path, home):
    folder = write_folder(tmp_path / "x", count=2)
    noise = Image.effect_noise((64, 64), 50).convert("RGB")
    for name in ("good", "broken"):
        noise.save(folder / "cat" / f"{name}.jpg")
    whole = (folder / "cat" / "broken.jpg").read_bytes()
    (folder / "cat" / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "dog" / "text.png").write_text("no image", encoding="utf-8")
    with pytest.warns(UserWarning, match="left out 2 of 7 images.*broken.jpg.*truncated.*text.png.*be identified"):
        data = load_folder(folder, 8)
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    Image.new("I;16", (8, 8), 1000).save(folder / "cat" / "deep.png")  # would be clipped to white
    with pytest.warns(UserWarning, match="left out 3 of 8 images.*deep.png.*do not fit into 8 bits; scale"):
        load_folder(folder, 8)
    assert not list(home.rglob("folder-*"))  # so that the next load warns again


def test_a_class_without_one_readable_image_is_an_error_that_names_it(tmp_path):
    folder = write_folder(tmp_path / "x", classes=("cat", "dog", "eel"))
    for path in (folder / "dog").iterdir():
        path.write_text("no image", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{folder} has 2 classes with images \(dog without one\); .*"
                                         f"left out 3 of 9 images.*{folder}/dog/0.png .*cannot be identified"):
        load_folder(folder, 8)
    for path in folder.glob("*/*"):
        path.write_text("no image", encoding="utf-8")
    with pytest.raises(ValueError, match=r"0 classes with images \(cat, dog, eel without one\)"):
        load_folder(folder, 8)


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


@pytest.mark.parametrize("part", ["VERSION", "Pillow"])
def test_another_decoder_decodes_anew_and_replaces_what_was_kept(tmp_path, home, monkeypatch, part):
    folder = write_folder(tmp_path / "x")
    load_folder(folder, 8)
    if part == "VERSION":
        monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    else:
        monkeypatch.setattr(module.PIL, "__version__", "99.0")
    with monkeypatch.context() as patch:
        no_decoding(patch)
        with pytest.raises(AssertionError, match="decoded .* again"):
            load_folder(folder, 8)
    load_folder(folder, 8)
    no_decoding(monkeypatch)
    load_folder(folder, 8)
    assert len(list((home / ".cache" / "vitlib").iterdir())) == 1


def test_a_changed_folder_replaces_what_was_kept_of_it(tmp_path, home):
    folder = write_folder(tmp_path / "x")
    for i in range(3):
        Image.new("RGB", (8, 8)).save(folder / "cat" / f"new{i}.png")
        load_folder(folder, 8)
    assert len(list((home / ".cache" / "vitlib").iterdir())) == 1
    load_folder(folder, 9)
    assert len(list((home / ".cache" / "vitlib").iterdir())) == 2


def test_the_cache_lies_where_the_environment_says(tmp_path, home, monkeypatch):
    folder = write_folder(tmp_path / "x")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    load_folder(folder, 8)
    assert len(list((tmp_path / "caches" / "vitlib").glob("folder-*"))) == 1
    monkeypatch.setenv("VITLIB_DATA", str(tmp_path / "data"))
    load_folder(folder, 9)
    assert len(list((tmp_path / "data").glob("folder-*"))) == 1
    monkeypatch.setenv("VITLIB_DATA", str(folder / "cat" / "0.png"))  # nothing can be written there
    quiet_load(folder, 10)
    assert len(list((tmp_path / "caches" / "vitlib").glob("folder-*"))) == 2
    no_decoding(monkeypatch)
    assert len(load_folder(folder, 10)) == 6
    assert not home.exists()


def test_without_a_home_folder_the_load_goes_on(tmp_path, monkeypatch):
    def unknown(user):
        raise KeyError(user)
    folder = write_folder(tmp_path / "x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    pwd = pytest.importorskip("pwd", reason="only POSIX looks a home folder up")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.warns(UserWarning, match="cannot keep .*no home folder.*VITLIB_DATA.*read anew") as said:
        assert len(load_folder(folder, 8)) == 6
    assert len(said) == 1
    monkeypatch.setenv("VITLIB_DATA", "~/pictures")
    with pytest.warns(UserWarning, match="cannot keep"):
        load_folder(folder, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]  # no folder called ~
    monkeypatch.setenv("VITLIB_DATA", str(tmp_path / "kept"))
    quiet_load(folder)
    assert (tmp_path / "kept").exists()


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, home):
    home.mkdir()
    (home / ".cache").write_text("a file where a folder should be", encoding="utf-8")
    with pytest.warns(UserWarning, match=f"cannot keep the decoded images.*{home}.*read anew"):
        assert len(load_folder(write_folder(tmp_path / "x"), 8)) == 6
