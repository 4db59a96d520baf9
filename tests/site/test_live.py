"""The model in the page: the same numbers as PyTorch's, from file:// and over http, by mouse, by keyboard, by link."""

import base64
import dataclasses
import functools
import gzip
import html
import json
import re
import threading
import urllib.parse
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from checks import look
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from torch.utils.flop_counter import FlopCounterMode

from vitlib.checkpoint import load_zoo
from vitlib.data import normalise
from vitlib.optim import learning_rate
from vitlib.positions import sincos_2d
from vitlib.shapes import shapes
from vitlib.vit import ViT, ViTConfig

PAGE = "_live/index.html"
# Runs the page's own model on images and sends back logits, some maps, and of every map a sum with random signs for
# each row: all maps of a thousand images would be 270 MB.
RUN = """
    const [bytes, signs, wholly, done] = arguments;
    const images = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)), scope = {};
    const sign = JSON.parse(signs), size = 3 * 32 * 32;
    window.vitlib(scope);
    const model = window.model || (window.model = scope.vit.load(window.PATCHWORK.weights));
    const logits = [], sums = [], maps = [];
    for (let n = 0; n < images.length / size; n++) {
        const pixels = images.subarray(n * size, (n + 1) * size);
        const image = Float32Array.from(pixels, (value) => (value / 255 - 0.5) / 0.25);
        const answer = model.forward(image), T = answer.T;
        logits.push(...answer.logits);
        for (const { weights } of answer.layers) {
            for (let row = 0; row < weights.length; row += T) {
                sums.push(sign.reduce((sum, s, j) => sum + s * weights[row + j], 0));
            }
            if (n < wholly) maps.push(...weights);
        }
    }
    const text = (list) => {
        const raw = new Uint8Array(Float32Array.from(list).buffer);
        let letters = "";
        for (let i = 0; i < raw.length; i += 32768) letters += String.fromCharCode(...raw.subarray(i, i + 32768));
        return btoa(letters);
    };
    done([logits, sums, maps].map(text));"""


@pytest.fixture(scope="module")
def served(site):
    """The site over http on a free port: its address."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def opened(browser, address: str):
    """The page with its model ready. A blank page first: a change of the part behind # alone would not load it anew."""
    browser.get("about:blank")
    browser.get(address)
    WebDriverWait(browser, 60).until(lambda b: "Loading" not in b.find_element(By.ID, "status").text)
    return browser


@pytest.fixture
def page(site, browser):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    return opened(browser, f"file://{site}/{PAGE}")


def until(page, true) -> None:
    WebDriverWait(page, 30).until(lambda _: true())


def said(page, name: str) -> str:
    return page.find_element(By.ID, name).text


def press(page, name: str) -> None:
    page.execute_script("document.getElementById(arguments[0]).click()", name)


def state(page) -> dict:
    return page.execute_script("return JSON.parse(JSON.stringify(PATCHWORK.play.state))")


def numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_the_page_computes_what_pytorch_computes(site, browser, served, scheme):
    """A thousand images, half by each way of opening the page: logits to 1e-4, attention to 1e-5, the same class."""
    opened(browser, f"file://{site}/{PAGE}" if scheme == "file" else f"{served}/{PAGE}")
    model, _ = load_zoo("shapes-tiny")  # its weights are kept in 16 bits, as the page's are
    first, second = shapes(1000, seed=31).images.split(500)
    images = first if scheme == "file" else second
    signs = torch.randint(0, 2, (65,), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    for part in images.split(100):
        pixels = base64.b64encode(part.numpy().tobytes()).decode()
        logits, sums, maps = map(numbers, browser.execute_async_script(RUN, pixels, str(signs.tolist()), 4))
        with torch.no_grad():
            expected = model(normalise(part)).numpy()
            attention = model.attention_maps(normalise(part)).transpose(0, 1)  # (B, L, h, T, T)
        assert np.abs(logits.reshape(100, 10) - expected).max() < 1e-4
        assert (logits.reshape(100, 10).argmax(1) == expected.argmax(1)).all()
        assert np.abs(sums - (attention @ signs).flatten().numpy()).max() < 1e-5
        assert np.abs(maps - attention[:4].flatten().numpy()).max() < 1e-5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_stands_as_every_page_does(site, browser, width, theme):
    """axe, console, requests, width and weight, as for the book's pages."""
    assert look(browser, f"file://{site}/{PAGE}", width, theme) == []


def test_it_is_small(site):
    weights = len(gzip.compress((site / "_live" / "weights.js").read_bytes()))
    rest = sum(path.stat().st_size for path in (site / "_live").iterdir()
               if path.suffix in (".js", ".css", ".html") and not path.name.startswith("weights"))
    assert weights <= 0.6e6 and rest <= 1.2e6


def test_touch_targets_are_large_enough(site, browser):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    opened(browser, f"file://{site}/{PAGE}")
    small = browser.execute_script("""
        return [...document.querySelectorAll("button, .button, input[type=range], .check")]
            .filter((node) => node.offsetParent && !node.closest("[hidden]"))
            .map((node) => [node.id || node.className, node.getBoundingClientRect()])
            .filter(([, box]) => box.width < 43.5 || box.height < 43.5)
            .map(([name, box]) => `${name} ${box.width}×${box.height}`)""")
    assert small == []


def test_a_strict_policy_holds(page):
    """No inline script and no eval: what a picture or a link could bring along does not run."""
    page.execute_script("""const script = document.createElement("script");
        script.textContent = "window.ran = 1"; document.body.append(script);
        document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 2'>");""")
    assert page.execute_async_script("const done = arguments[0]; setTimeout(() => done(window.ran || 0), 300)") == 0
    assert "unsafe" not in page.execute_script("return document.querySelector('meta[http-equiv]').content")


def test_the_keyboard_does_everything(page):
    first = page.find_element(By.CSS_SELECTOR, "#patches button[tabindex='0']")
    assert "Patch 27" in first.get_attribute("aria-label")
    first.send_keys(Keys.ARROW_RIGHT)
    until(page, lambda: "patch 28" in said(page, "where"))
    page.switch_to.active_element.send_keys(Keys.ARROW_DOWN)
    until(page, lambda: "patch 36" in said(page, "where"))
    for name, key in [("shuffle", "shuffled"), ("positions", "positions"), ("drop", "dropped"), ("silence", "silenced"),
                      ("skip", "skipped")]:
        before = state(page)[key]
        page.find_element(By.ID, name).send_keys(Keys.ENTER)
        until(page, lambda: state(page)[key] != before)  # noqa: B023
    until(page, lambda: page.find_element(By.ID, "reset").is_enabled())
    page.find_element(By.ID, "reset").send_keys(Keys.ENTER)
    until(page, lambda: state(page)["skipped"] == [] and page.find_element(By.ID, "reset").get_property("disabled"))


@pytest.mark.parametrize("change", ["shuffle", "positions", "drop", "silence", "skip"])
def test_each_change_changes_the_answer_and_shows_the_one_before(page, change):
    press(page, change)
    until(page, lambda: "before the change" in said(page, "says"))
    logits = "return [...PATCHWORK.play.seen().{}.logits]"
    before, after = (page.execute_script(logits.format(when)) for when in ("before", "after"))
    assert max(abs(a - b) for a, b in zip(before, after)) > 1e-3
    assert page.find_element(By.ID, change).get_attribute("aria-pressed") == "true"


def test_without_positions_the_order_of_the_patches_does_not_count(page):
    """The claim of the tour's sixth step."""
    press(page, "positions")
    until(page, lambda: "before" in said(page, "says"))
    ordered = page.execute_script("return [...PATCHWORK.play.seen().after.logits]")
    press(page, "shuffle")
    until(page, lambda: page.find_element(By.ID, "shuffle").get_attribute("aria-pressed") == "true")
    shuffled = page.execute_script("return [...PATCHWORK.play.seen().after.logits]")
    assert max(abs(a - b) for a, b in zip(ordered, shuffled)) < 1e-3


def test_a_link_carries_what_is_seen(page):
    press(page, "drop")
    press(page, "silence")
    page.execute_script("PATCHWORK.play.change({ image: 4, layer: 3, temperature: 2 })")
    until(page, lambda: "temperature" in page.current_url and "dropped" in page.current_url)
    seen = state(page)
    assert state(opened(page, page.current_url)) == seen


@pytest.mark.parametrize("wrong", ["image=99", "patch=64", "layer=-1", "temperature=1e9", "silenced=[[9,9]]", "own=!!",
                                   "dropped={}", "alone=3", "nothing=1", "image=%7B"])
def test_a_broken_link_opens_the_page_as_it_is(page, wrong):
    start = page.execute_script("return JSON.parse(JSON.stringify(PATCHWORK.play.START))")
    assert state(opened(page, page.current_url.split("#")[0] + "#" + wrong)) == start


def test_the_books_links_open_the_states_that_they_name(site, browser):
    source = (site / "book" / "see_it_think.html").read_text(encoding="utf-8")
    states = [html.unescape(link) for link in re.findall(r'href="\.\./_live/index\.html#([^"]+)"', source)]
    assert len(states) >= 5
    for link in states:
        seen = state(opened(browser, f"file://{site}/{PAGE}#{link}"))
        for key, value in urllib.parse.parse_qsl(link):
            assert seen[key] == json.loads(value), link


SCRIPTED = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>window.ran = 1</script></svg>'


@pytest.mark.parametrize(("name", "content"), [("notes.png", b"this is no picture"), ("empty.jpg", b""),
                                               ("drawing.svg", SCRIPTED.encode())])
def test_a_file_that_is_no_picture_is_told_in_one_line(page, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    page.find_element(By.ID, "file").send_keys(str(tmp_path / name))
    until(page, lambda: name in said(page, "status"))
    assert "no picture" in said(page, "status") or state(page)["own"]
    assert page.execute_script("return window.ran || 0") == 0


def test_a_picture_of_ones_own_is_shrunk_and_read(page, tmp_path):
    from PIL import Image

    Image.new("RGB", (640, 480), (200, 30, 30)).save(tmp_path / "mine.jpg")
    page.find_element(By.ID, "file").send_keys(str(tmp_path / "mine.jpg"))
    until(page, lambda: "mine.jpg, shrunk" in said(page, "status"))
    red = page.execute_script("return PATCHWORK.play.state.own[0]")
    assert abs(red - 200) < 6 and "It is a" not in said(page, "says")


def test_a_huge_picture_is_told_in_one_line(page, tmp_path):
    (tmp_path / "huge.png").write_bytes(b"\x89PNG" + b"\0" * 41_000_000)
    page.find_element(By.ID, "file").send_keys(str(tmp_path / "huge.png"))
    until(page, lambda: "below 40 MB" in said(page, "status"))


def test_drawing_by_keyboard_paints(page):
    press(page, "draw")
    until(page, lambda: state(page)["own"] is not None)
    board = page.find_element(By.CSS_SELECTOR, "#patches button[tabindex='0']")
    board.send_keys(" ", Keys.ARROW_RIGHT, " ")
    until(page, lambda: page.execute_script("return PATCHWORK.play.state.own[16 * 32 + 16]") == 235)


def test_the_tour_has_eight_steps_and_can_be_left(page):
    press(page, "tour-start")
    titles = []
    for _ in range(8):
        titles.append(said(page, "tour-title"))
        press(page, "tour-on")
    assert len(set(titles)) == 8 and not page.find_element(By.ID, "tour").is_displayed()
    press(page, "tour-start")
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    until(page, lambda: not page.find_element(By.ID, "tour").is_displayed())


def test_occlusion_is_compared_with_attention(page):
    press(page, "occlude")
    until(page, lambda: "rank correlation is" in said(page, "agree"))
    falls = page.execute_script("return PATCHWORK.play.seen().occluded")
    model, _ = load_zoo("shapes-tiny")
    image = page.execute_script("""const { images } = PATCHWORK;
        return [...Uint8Array.from(atob(images.pixels), (letter) => letter.charCodeAt(0)).subarray(3072, 6144)]""")
    x = normalise(torch.tensor(image, dtype=torch.uint8).view(1, 3, 32, 32))
    with torch.no_grad():
        whole, tokens = model(x)[0], model.embed(x)
        kept = torch.cat([tokens[:, :6], tokens[:, 7:]], dim=1)  # without patch 5: token 6
        without = model.classify(model.encode(kept))[0]
    assert abs(falls[5] - (whole[whole.argmax()] - without[whole.argmax()]).item()) < 1e-3


def test_the_slider_shows_the_model_on_its_way(page):
    """Before the first step all classes are equally likely; the weights of each position are files of their own."""
    epochs = page.execute_script("return PATCHWORK.weights.snapshots")
    assert epochs[0] == 0 and len(epochs) >= 4
    page.execute_script("PATCHWORK.play.change({ epoch: 0 })")
    until(page, lambda: "not begun" in said(page, "epoch-said"))
    shares = page.execute_script("return [...PATCHWORK.play.seen().after.probabilities]")
    assert max(abs(share - 0.1) for share in shares) < 1e-6
    page.execute_script("PATCHWORK.play.change({ epoch: arguments[0] })", epochs[-1])
    until(page, lambda: f"after {epochs[-1]} of" in said(page, "epoch-said"))
    assert max(page.execute_script("return [...PATCHWORK.play.seen().after.probabilities]")) > 0.3


def formula(browser, call: str, *values):
    return browser.execute_script(f"return PATCHWORK.formulas.{call}", *values)


def test_the_chapters_widgets_compute_what_the_library_computes(site, browser):
    browser.get(f"file://{site}/notebooks/07_vision_transformer.html")
    until(browser, lambda: browser.execute_script("return Boolean(window.PATCHWORK && PATCHWORK.formulas)"))
    codes = torch.tensor(formula(browser, "sincos_2d(3, 5, 24)"))
    assert torch.allclose(codes.float(), sincos_2d(3, 5, 24), atol=1e-6)
    for shape in ("linear", "cosine", "constant"):
        for step in (0, 3, 7, 40, 99):
            there = formula(browser, "learning_rate(arguments[0], 100, 0.01, 7, arguments[1])", step, shape)
            assert abs(there - learning_rate(step, 100, 0.01, 7, shape)) < 1e-12
    for config in (ViTConfig(patch_size=8, dim=48, depth=6), ViTConfig(image_size=64, patch_size=16, dim=96)):
        parts = formula(browser, "parameters(arguments[0])", dataclasses.asdict(config))
        assert sum(parts.values()) == sum(p.numel() for p in ViT(config).parameters())
        steps = formula(browser, "multiplications(arguments[0])", dataclasses.asdict(config))
        with FlopCounterMode(display=False) as counter:  # it counts a multiplication and its addition as two
            ViT(config).attention_maps(torch.zeros(1, 3, config.image_size, config.image_size))
        assert counter.get_total_flops() / 2 == sum(steps.values()) - steps["head"]


PIECES = {"02_patches": "slicer", "03_tokens": "positions", "04_attention": "softmax", "05_multi_head": "glance",
          "06_encoder_block": "stream", "07_vision_transformer": "calculator", "08_training": "schedule",
          "12_attention_maps": "glance"}


@pytest.mark.parametrize("chapter", PIECES)
def test_a_chapter_has_its_live_piece(site, browser, chapter):
    browser.get(f"file://{site}/notebooks/{chapter}.html")
    piece = f"[data-live={PIECES[chapter]}]"
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, f"{piece}.pw-live .pw-said"))
    text = "return document.querySelector(arguments[0]).textContent"
    answers = browser.execute_script(text, piece)
    for slider in browser.find_elements(By.CSS_SELECTOR, f"{piece} input[type=range]"):
        slider.send_keys(Keys.ARROW_RIGHT)
    for button in browser.find_elements(By.CSS_SELECTOR, f"{piece} .pw-answer button"):
        button.send_keys(Keys.ENTER)
    until(browser, lambda: browser.execute_script(text, piece) != answers)


def test_without_javascript_the_page_says_so(site):
    text = (site / PAGE).read_text(encoding="utf-8")
    assert "<noscript>" in text and "JavaScript is off" in text
