"""The machine: its devices by name, and what Apple's GPU, which no test machine has, is asked for."""

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from common import PLAIN, TINY, pictures
from torch.nn import functional as F

from vitlib import augment, checkpoint, cli, parallel, train
from vitlib.augment import beta, random_affine, reflected
from vitlib.devices import as_device, default_device, hardware, random_states, same_draws, set_random_states
from vitlib.train import autocast, fit
from vitlib.vit import ViT


@pytest.fixture
def machine(monkeypatch):
    """A machine with the accelerator that a test asks for."""
    def build(name, count=1):
        monkeypatch.setattr(torch.accelerator, "current_accelerator",
                            lambda check_available=False: torch.device(name) if name else None)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    return build


def test_the_default_is_the_accelerator_that_is_there(machine, monkeypatch):
    for name in ("cuda", "mps", None):
        machine(name)
        assert default_device() == torch.device(name or "cpu")
        assert cli.parse(["train", "shapes-quick"]).device == (name or "cpu")


def test_an_accelerator_that_was_built_in_but_is_not_there_is_no_default(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator",
                        lambda check_available=False: None if check_available else torch.device("cuda"))
    assert default_device() == torch.device("cpu")


def test_devices_of_the_machine_go_by_their_names(machine):
    machine("cuda", 2)
    assert [as_device(name) for name in ("cpu", "cuda", "cuda:1", torch.device("cuda", 0))] == [
        torch.device("cpu"), torch.device("cuda"), torch.device("cuda", 1), torch.device("cuda", 0)]
    with pytest.raises(ValueError, match="no device 'cuda:2' on this machine; it finds cpu, cuda, cuda:0, cuda:1"):
        as_device("cuda:2")
    machine("mps")
    assert as_device("mps") == torch.device("mps")
    with pytest.raises(ValueError, match="finds no device 'cuda' on this machine; it finds cpu, mps, mps:0"):
        as_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "nonsense", "", "cuda", "cuda:7", "mps", "meta", "CPU", "cuda:-1"])
def test_a_device_that_is_not_there_is_named_by_fit_and_by_a_group(machine, name):
    machine(None)
    with pytest.raises(ValueError, match=f"PyTorch finds no device '{name}' on this machine; it finds cpu$"):
        fit(ViT(TINY), pictures(), PLAIN, device=name)
    with pytest.raises(ValueError, match="finds no device"), parallel.group(name):
        pytest.fail("the group began")


def test_several_processes_share_cpus_or_nvidias_gpus_only(machine, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    machine("mps")
    with pytest.raises(ValueError, match="on CPUs or on NVIDIA's GPUs, not on mps; use --device cpu"), \
            parallel.group("mps"):
        pytest.fail("the group began")
    machine("cuda", 1)
    with pytest.raises(ValueError, match="finds no device 'cuda:1'"), parallel.group("cuda"):  # one GPU, two processes
        pytest.fail("the group began")


def test_hardware_is_named(monkeypatch):
    assert hardware(torch.device("cpu")) == f"CPU, {torch.get_num_threads()} threads"
    monkeypatch.setattr(torch.backends.mps, "get_name", lambda: "Apple M9")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device}")
    assert hardware(torch.device("mps")) == "Apple GPU (mps), Apple M9"
    assert hardware(torch.device("cuda", 1)) == "Card cuda:1"
    assert checkpoint.environment("mps")["device"] == "Apple GPU (mps), Apple M9"


@pytest.fixture
def apple(monkeypatch):
    """The generator of an Apple GPU: its state is a number that each draw raises."""
    state = SimpleNamespace(value=torch.tensor([5]))
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda device="mps": state.value.clone())
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda new, device="mps": setattr(state, "value", new.clone()))
    return state


def test_random_states_are_kept_and_put_back_on_apples_gpu_too(apple):
    device = torch.device("mps")
    kept = random_states(device)
    expected = torch.rand(3)
    apple.value += 1
    set_random_states(kept, device)
    assert apple.value == 5
    assert torch.equal(torch.rand(3), expected)
    set_random_states(kept, device)

    def draw_and_fail():
        with same_draws(device):
            torch.rand(3)
            apple.value += 1
            raise KeyError

    with pytest.raises(KeyError):
        draw_and_fail()
    assert apple.value == 5
    assert torch.equal(torch.rand(3), expected)


def test_a_checkpoint_keeps_the_generator_from_which_an_apple_gpu_drops(apple):
    g, seen = torch.Generator(), []
    on_apple = SimpleNamespace(device=torch.device("mps"), get_state=g.get_state, set_state=seen.append)
    model = ViT(TINY)
    state = checkpoint.snapshot({"device": "mps"}, model, [], None, on_apple, [])
    apple.value += 7
    checkpoint.restore(state, {"device": "mps"}, model, [], None, on_apple)
    assert apple.value == 5
    assert len(seen) == 1


def test_automatic_precision_is_full_on_a_cpu_and_on_apples_gpu():
    for name in ("cpu", "mps"):
        assert isinstance(autocast(torch.device(name), "auto"), nullcontext)  # older ones warn even when it is off


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (1, 1), (33, 2)])
def test_mirrored_places_give_what_reflection_gives(size):
    images = torch.rand(16, 3, *size, dtype=torch.float64)
    grid = torch.randn(16, *size, 2, dtype=torch.float64) * 4  # up to many images away
    assert grid.abs().max() > 8
    expected = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    places = reflected(grid, images)
    assert places.abs().max() < 1
    found = F.grid_sample(images, places, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_an_untried_device_moves_images_to_the_same_places(monkeypatch):
    images, g = torch.rand(32, 3, 8, 8), torch.Generator()
    expected = random_affine(images, 1.0, g.manual_seed(1))
    modes, sample = [], F.grid_sample
    monkeypatch.setattr(augment, "TRIED", ())
    monkeypatch.setattr(F, "grid_sample", lambda *args, **options: modes.append(options["padding_mode"])
                        or sample(*args, **options))
    torch.testing.assert_close(random_affine(images, 1.0, g.manual_seed(1)), expected, atol=1e-5, rtol=0)
    assert modes == ["zeros"]  # every version of PyTorch has it on Apple's GPU


def test_an_untried_device_draws_shares_on_the_cpu_from_its_own_generator(monkeypatch):
    monkeypatch.setattr(augment, "TRIED", ("cpu",))
    drawn_on = []
    gamma = torch._standard_gamma
    monkeypatch.setattr(torch, "_standard_gamma",
                        lambda x, generator: drawn_on.append(generator.device.type) or gamma(x, generator=generator))

    class Foreign:
        """A generator whose device has no gamma distribution; its whole numbers come from `inner`."""
        device = torch.device("meta")

    inner = torch.Generator().manual_seed(3)
    randint = torch.randint
    monkeypatch.setattr(torch, "randint", lambda high, size, generator, device: randint(high, size, generator=inner))
    found = beta(1000, 0.4, Foreign())
    assert (found.device.type, drawn_on) == ("meta", ["cpu", "cpu"])


def test_the_cpus_own_draws_are_those_of_the_gamma_distribution():
    """Records repeat: on a CPU nothing else is drawn, and in this order."""
    g = torch.Generator().manual_seed(4)
    a, b = (torch._standard_gamma(torch.full((9,), 0.4), generator=g) for _ in range(2))
    assert torch.equal(beta(9, 0.4, torch.Generator().manual_seed(4)), a / (a + b))


def test_the_warm_up_of_a_compiled_model_keeps_the_random_states_of_its_device(monkeypatch):
    asked, real = [], train.same_draws
    monkeypatch.setattr(train, "same_draws", lambda device: asked.append(device.type) or real(device))
    monkeypatch.setattr(torch, "compile", lambda model: model)
    fit(ViT(TINY), pictures(), replace(PLAIN, compile=True))
    assert asked == ["cpu"]
