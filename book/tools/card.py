"""Draw the picture that a link to the book shows elsewhere, book/_static/card.png, from the one on the welcome page.

    python book/tools/card.py
"""

import base64
import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import say_anything, write_atomically
from screens import open_browser

BOOK = Path(__file__).resolve().parents[1]
PAGE = """<!DOCTYPE html><meta charset="utf-8"><style>{css}
body {{ background: #fff; box-sizing: border-box; color: #1f2630; font-family: system-ui, sans-serif; height: 630px;
  margin: 0; overflow: hidden; padding: 64px 72px; width: 1200px; --pst-color-text-muted: #48566b; }}
header {{ align-items: center; display: flex; gap: 28px; }}
header svg {{ width: 120px; }}
h1 {{ font-size: 72px; margin: 0; }}
p {{ font-size: 34px; line-height: 1.35; margin: 26px 0 40px; }}
.pw-flow {{ gap: 48px; }}
.pw-flow li > svg {{ max-width: 150px; }}
.pw-flow li + li::before {{ font-size: 32px; left: -40px; top: 56px; }}
.pw-flow strong {{ font-size: 28px; }}
.pw-flow small {{ display: none; }}
</style><header>{logo}<h1>Patchwork</h1></header>
<p>Build a Vision Transformer from its first patch, train it, and look inside it.</p>{flow}"""


def main() -> None:
    say_anything()
    flow = re.search(r'<ol class="pw-flow">.*?</ol>', (BOOK / "intro.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    page = PAGE.format(css=(BOOK / "_static" / "custom.css").read_text(encoding="utf-8"), flow=flow,
                       logo=(BOOK / "_static" / "logo.svg").read_text(encoding="utf-8"))
    browser = open_browser()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "card.html")
            path.write_text(page, encoding="utf-8")
            browser.get(path.as_uri())
            clip = {"x": 0, "y": 0, "width": 1200, "height": 630, "scale": 1}
            png = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    finally:
        browser.quit()
    write_atomically(BOOK / "_static" / "card.png", base64.b64decode(png["data"]))


if __name__ == "__main__":
    main()
