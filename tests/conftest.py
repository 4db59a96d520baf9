"""What every test starts from."""

import pytest
import torch

torch.set_num_threads(1)  # sums in one order: the same bits on every machine


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, so that no cache of the person who runs the tests is read or written."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("VITLIB_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"
