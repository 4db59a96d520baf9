"""What every test starts from, and what is said when a process of the tests dies."""

import pytest
import torch

torch.set_num_threads(1)  # sums in one order: the same bits on every machine


lost: list[str] = []  # the tests during which a process of pytest-xdist died


@pytest.hookimpl(optionalhook=True)  # where pytest-xdist is not installed, nobody asks
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport) -> None:
    """A process died: no test failed, but Python itself was stopped. Said again below all other output."""
    lost.append(crashitem)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for test in lost:
        terminalreporter.write_line(
            f"\nA PROCESS OF THE TESTS DIED during {test}: stopped by the system (for memory?) or crashed in compiled "
            f"code. Run that test alone: python -X faulthandler -m pytest -n 0 '{test}'. If it crashes again, try "
            "ONEDNN_MAX_CPU_ISA=AVX2 in front of it: some processors lack what a library believes they have.", red=True)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, so that no cache of the person who runs the tests is read or written."""
    for name in ("HOME", "USERPROFILE"):  # Windows has the second
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in ("VITLIB_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"
