"""Where images come from."""

import urllib.error

import pytest
from common import write_folder
from torchvision.datasets import utils as torchvision_utils

from vitlib.files import data_home
from vitlib.sources import load_cifar10

pytestmark = pytest.mark.usefixtures("home")


def test_data_home_follows_the_environment(home, monkeypatch):
    assert data_home() == home / ".cache" / "vitlib"
    monkeypatch.setenv("VITLIB_DATA", "~/pictures")
    assert data_home() == home / "pictures"


@pytest.mark.parametrize(("suffix", "name"), [(".png", "CIFAR-10"), (".jpg", "CIFAR-10 (JPEG)"),
                                              (".JPEG", "CIFAR-10 (JPEG)")])
def test_cifar10_comes_from_an_image_folder_and_jpegs_are_called_so(tmp_path, monkeypatch, suffix, name):
    for part, count in (("train", 3), ("test", 2)):
        write_folder(tmp_path / "cifar10" / part, count=count, size=(32, 32), suffix=suffix)
    monkeypatch.setenv("VITLIB_DATA", str(tmp_path))
    train, test = load_cifar10()
    assert (len(train), len(test)) == (6, 4)
    assert train.name == test.name == name


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
