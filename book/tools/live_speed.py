"""How quick the live page is: the first answer, a warm pass with all maps, and frames a second while a mouse moves over
the patches, counted by the callbacks that the browser makes before each frame.

    python book/tools/live_speed.py            # needs a built site, Chromium and its driver, and a quiet machine
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

SITE = Path(__file__).parents[2] / "_build" / "html"


def started() -> webdriver.Chrome:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(argument)
    return webdriver.Chrome(options, Service(shutil.which("chromedriver")))


def first_answer(browser, address: str) -> float:
    """Seconds from the start of the navigation until the class bars are there."""
    browser.get("about:blank")
    browser.get(address)
    WebDriverWait(browser, 60, 0.01).until(lambda b: "Loading" not in b.find_element(By.ID, "status").text)
    return browser.execute_script("return performance.now()") / 1000


def warm_pass(browser, rounds: int = 40) -> float:
    """Median milliseconds of a forward pass in the worker, with all maps."""
    times = []
    for i in range(rounds):
        browser.execute_script("PATCHWORK.play.change({ image: arguments[0] })", i % 12)
        time.sleep(0.15)
        times.append(browser.execute_script("return PATCHWORK.play.seen().after.milliseconds"))
    return statistics.median(times[5:])


def frames(browser, seconds: float = 4.0) -> float:
    """Frames a second while the mouse wanders over the patches."""
    board = browser.find_element(By.ID, "patches").rect
    browser.execute_script("""window.drawn = 0;
        const count = () => { window.drawn += 1; requestAnimationFrame(count); };
        requestAnimationFrame(count);""")
    began, step = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step += 1
        x, y = board["x"] + step * 7 % board["width"], board["y"] + step * 3 % board["height"]
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
    return browser.execute_script("return window.drawn") / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, default=SITE, help="the built site (default: _build/html)")
    page = parser.parse_args().site.resolve() / "_live" / "index.html"
    if not page.is_file():
        raise SystemExit(f"there is no {page}; run `make book` first, or name a built site with --site")
    browser = started()
    try:
        answers = [first_answer(browser, f"file://{page}") for _ in range(5)]
        print(f"first answer: {statistics.median(answers):.2f} s after opening (median of 5)")
        print(f"warm pass with all maps: {warm_pass(browser):.0f} ms (median)")
        print(f"hovering: {frames(browser):.0f} frames a second")
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
