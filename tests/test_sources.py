"""Where images come from."""

import urllib.error

import pytest
import torch
from common import write_folder
from torchvision.datasets import utils as torchvision_utils

from vitlib.files import data_home
from vitlib.sources import load_cifar10, load_data, load_fashion_mnist

pytestmark = pytest.mark.usefixtures("home")


def test_data_home_follows_the_environment(home, monkeypatch):
    assert data_home() == home / ".cache" / "vitlib"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert str(data_home()) == "/caches/vitlib"
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")  # to be ignored unless it is a whole path
    assert data_home() == home / ".cache" / "vitlib"
    monkeypatch.setenv("VITLIB_DATA", "~/pictures")
    assert data_home() == home / "pictures"


def test_without_a_home_folder_data_has_no_home_and_the_error_says_so(tmp_path, monkeypatch):
    def unknown(user):
        raise KeyError(user)
    monkeypatch.delenv("HOME")
    pwd = pytest.importorskip("pwd", reason="only POSIX looks a home folder up")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(FileNotFoundError, match="no home folder.*~/.cache/vitlib.*set VITLIB_DATA to a whole path"):
        load_cifar10()
    monkeypatch.setenv("VITLIB_DATA", "~/pictures")
    with pytest.raises(FileNotFoundError, match="no home folder.*~/pictures.*whole path"):
        data_home()
    monkeypatch.setenv("VITLIB_DATA", str(tmp_path))
    assert data_home() == tmp_path


@pytest.mark.parametrize("part", ["test", "val", "valid", "validation"])
def test_a_folder_has_train_and_a_part_to_test_on(tmp_path, capsys, part):
    for name, count in (("train", 3), (part, 2)):
        write_folder(tmp_path / "pets" / name, count=count)
    train, test = load_data(str(tmp_path / "pets"), 8)
    assert (len(train), len(test), train.name, test.name) == (6, 4, "pets", "pets")
    said = capsys.readouterr().out
    line = f"{tmp_path}/pets has no test/: the images of {part}/ are the ones to test on\n"
    assert said == ("" if part == "test" else line)


def test_test_goes_before_val(tmp_path, capsys):
    for name, count in (("train", 3), ("val", 1), ("test", 2)):
        write_folder(tmp_path / name, count=count)
    assert len(load_data(str(tmp_path), 8)[1]) == 4
    assert not capsys.readouterr().out


@pytest.mark.parametrize(("folders", "words"), [
    (["cat", "dog", ".git"], "no folder {}/train: {} holds the folders cat, dog. Expected train/<class>/<image> and "
                             "test/<class>/<image> in it; val, valid, validation will do for test. .* the classes'"),
    (["train", "Test"], "no folder {}/test: {} holds the folders Test, train. Expected .* Rename"),
    (["training", "val"], "no folder {}/train: {} holds the folders training, val. Expected "),
    ([], "no folder {}/train: {} holds no folders. Expected ")])
def test_a_folder_without_its_parts_says_what_is_there_and_what_was_expected(tmp_path, folders, words):
    for name in folders:
        write_folder(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=words.replace("{}", str(tmp_path))):
        load_data(str(tmp_path), 8)


def test_a_source_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="pets is not there, nor is it one of shapes, .* cifar10"):
        load_data("pets", 8)
    (tmp_path / "pets.zip").write_text("", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/pets.zip is a file, not a folder"):
        load_data(str(tmp_path / "pets.zip"), 8)


@pytest.mark.parametrize(("suffix", "name"), [
    (".png", "CIFAR-10"), (".bmp", "CIFAR-10"), (".ppm", "CIFAR-10"), (".jpg", "CIFAR-10 (JPEG)"),
    (".JPEG", "CIFAR-10 (JPEG)"), (".jfif", "CIFAR-10 (JPEG)"), (".webp", "CIFAR-10 (WEBP)"),
    (".gif", "CIFAR-10 (GIF)"), (".tif", "CIFAR-10 (TIFF)")])
def test_cifar10_comes_from_an_image_folder_and_lossy_formats_are_called_so(tmp_path, monkeypatch, suffix, name):
    for part, count in (("train", 3), ("test", 2)):
        write_folder(tmp_path / "cifar10" / part, count=count, size=(32, 32), suffix=suffix)
    monkeypatch.setenv("VITLIB_DATA", str(tmp_path))
    train, test = load_cifar10()
    assert (len(train), len(test)) == (6, 4)
    assert train.name == test.name == name


def test_both_parts_of_cifar10_count_and_companions_do_not(tmp_path, monkeypatch):
    write_folder(tmp_path / "cifar10" / "train")
    write_folder(tmp_path / "cifar10" / "test")
    (tmp_path / "cifar10" / "train" / "cat" / "._0.jpg").write_text("no image", encoding="utf-8")
    (tmp_path / "cifar10" / "train" / "__MACOSX").mkdir()
    (tmp_path / "cifar10" / "train" / "__MACOSX" / "0.jpg").write_text("no image", encoding="utf-8")
    assert {part.name for part in load_cifar10(tmp_path)} == {"CIFAR-10"}
    (tmp_path / "cifar10" / "test" / "dog" / "0.png").unlink()
    write_folder(tmp_path / "cifar10" / "test" / "dog", classes=("more",), suffix=".jpg")
    write_folder(tmp_path / "cifar10" / "test" / "cat", classes=("more",), suffix=".webp")
    assert {part.name for part in load_cifar10(tmp_path)} == {"CIFAR-10 (JPEG, WEBP)"}


def test_cifar10_without_data_names_the_ways_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="not in .*download=True.*VITLIB_DATA.*cifar10/train/<class>/"):
        load_cifar10(tmp_path)


def test_cifar10_without_a_network_names_the_ways_to_get_it(tmp_path, monkeypatch):
    asked = []

    def no_network(request, **_):
        asked.append(request)
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torchvision_utils.urllib.request, "urlopen", no_network)
    with pytest.raises(FileNotFoundError, match="no route to host.*VITLIB_DATA"):
        load_cifar10(tmp_path, download=True)
    assert asked


def idx(values):
    """A tensor of bytes in the format of MNIST's files: two zeros, type, axes, sizes, values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.numpy().tobytes()


def test_fashion_mnist_gets_a_rim_and_three_channels(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    grey = torch.arange(2 * 28 * 28).reshape(2, 28, 28).remainder(251).to(torch.uint8)
    for part, labels in (("train", [9, 0]), ("t10k", [3, 4])):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(grey))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(torch.tensor(labels, dtype=torch.uint8)))
    train, test = load_fashion_mnist(tmp_path)
    assert train.images.shape == (2, 3, 32, 32) and train.labels.tolist() == [9, 0] and test.labels.tolist() == [3, 4]
    assert torch.equal(train.images[:, 1, 2:30, 2:30], grey) and train.images[:, :, :2].sum() == 0
    assert train.name == "Fashion-MNIST" and train.classes[9] == "Ankle boot"


def test_fashion_mnist_that_is_not_there_names_the_ways_to_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="Fashion-MNIST is not in .*download=True.*FashionMNIST/raw"):
        load_fashion_mnist(tmp_path)
