"""Photograph every page of the built site, at two widths, light and dark.

    python book/tools/screens.py FOLDER [--html _build/html] [--pages notebooks/04_attention …]
"""

import argparse
import base64
import shutil
import sys
from pathlib import Path

import yaml
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, read_text, say_anything, write_atomically


def all_pages() -> list[str]:
    """The pages in _toc.yml, in order."""
    toc = yaml.safe_load(read_text(ROOT / "_toc.yml"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def open_browser() -> webdriver.Chrome:
    """Chromium without a window. Raises SystemExit where it or its driver is not on the PATH."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if not path]:
        raise SystemExit(f"not on the PATH: {', '.join(missing)}; on Debian: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    return webdriver.Chrome(options, Service(programs["chromedriver"]))


def photograph(browser: webdriver.Chrome, address: str, width: int, theme: str, top: int | None) -> bytes:
    """A page as PNG: the whole of it, or its first `top` pixels."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": theme}, {"name": "prefers-reduced-motion", "value": "reduce"}]})
    browser.get(address)
    browser.execute_async_script("Promise.resolve(window.MathJax?.startup?.promise).then(arguments[0])")
    height = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, top or height), "scale": 1}
    png = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    return base64.b64decode(png["data"])


def main() -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html", help="the built site")
    parser.add_argument("--pages", nargs="+", default=all_pages(), help="pages as in _toc.yml (default: all)")
    parser.add_argument("--top", type=int, help="only the first so many pixels of each page")
    args = parser.parse_args()
    if not (args.html / "index.html").is_file():
        raise SystemExit(f"screens.py: there is no site in {args.html}; run `make book` first")
    args.folder.mkdir(parents=True, exist_ok=True)
    browser = open_browser()
    try:
        for page in args.pages:
            for width in (1280, 375):
                for theme in ("light", "dark"):
                    path = args.folder / f"{page.replace('/', '-')}-{width}-{theme}.png"
                    address = (args.html / f"{page}.html").resolve().as_uri()
                    write_atomically(path, photograph(browser, address, width, theme, args.top))
                    print(path)
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
