"""Write the book as one PDF from the chapters as `make book` ran them: the same numbers, and nothing is run again.

    python book/tools/pdf.py [patchwork.pdf]        default: _build/patchwork.pdf

Jupyter Book joins the executed chapters to one page, and Chromium prints it. Hints and solutions are printed unfolded.
"""

import argparse
import base64
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, chapters, read_text, say_anything, write_atomically
from screens import open_browser

LEFT_OUT = "book/timings"  # times of the build, which this one does not run
STYLE = """
@page { size: A4; margin: 16mm 15mm 18mm; }
.bd-header-article, .bd-sidebar, .bd-sidebar-primary, .bd-sidebar-secondary, .bd-header, .prev-next-footer, .headerlink,
  .bd-footer, .bd-footer-article, .bd-footer-content, #pst-skip-link, .copybtn, .toggle-button, .tocsection,
  dialog, .pst-scroll-pixel-helper, .sbt-scroll-pixel-helper, #print-main-content,
  .back-to-top { display: none !important; }
html, body { font-size: 10pt; }
.bd-main .bd-content .bd-article-container, .bd-page-width { max-width: none !important; }
pre, code { white-space: pre-wrap !important; overflow-wrap: anywhere; }
pre { font-size: 7.6pt !important; }
.pw-page { break-before: page; }
details.hide { display: none; }
h1, h2, h3, h4 { break-after: avoid; }
.cell_output img, figure, tr, .pw-flow li { break-inside: avoid; }
section.pw-exercise, section, .admonition, details, pre { break-inside: auto !important; }
img { max-height: 210mm; object-fit: contain; }
"""
PREPARE = """
const [style, done] = arguments;
document.documentElement.dataset.theme = document.documentElement.dataset.mode = 'light';
document.head.appendChild(Object.assign(document.createElement('style'), {textContent: style}));
document.querySelectorAll('details').forEach(node => node.open = true);
document.querySelectorAll('.toggle-hidden').forEach(node => node.classList.remove('toggle-hidden'));
document.querySelectorAll('span[id^="document-"]').forEach(node => node.nextElementSibling?.classList.add('pw-page'));
document.querySelectorAll('img').forEach(node => node.loading = 'eager');
const images = [...document.images].map(image => image.decode().catch(() => 0));
Promise.all([document.fonts.ready, window.MathJax?.startup?.promise, ...images]).then(() => done());
"""


def join_pages(folder: Path) -> Path:
    """Build the chapters, as they were executed, as one page in `folder`; returns that page."""
    executed = ROOT / "_build" / "jupyter_execute" / "notebooks"
    missing = [path.name for path in chapters() if not (executed / path.name).is_file()]
    if missing:
        raise SystemExit(f"not executed yet: {', '.join(sorted(missing))}; run `make book` first")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "book", folder / "book")
    shutil.copytree(executed, folder / "notebooks")
    config = read_text(ROOT / "_config.yml")
    config, found = re.subn(r"(?m)^  execute_notebooks: .*$", '  execute_notebooks: "off"', config)
    if not found:
        raise SystemExit("_config.yml has no line '  execute_notebooks: …'")
    (folder / "_config.yml").write_text(config, encoding="utf-8")
    rows = read_text(ROOT / "_toc.yml").splitlines(keepends=True)
    (folder / "_toc.yml").write_text("".join(row for row in rows if LEFT_OUT not in row), encoding="utf-8")
    for path in (folder / "book").glob("*.md"):  # what led to the page left out is plain text
        link = rf"\[([^]]+)\]\({Path(LEFT_OUT).name}\.md[^)]*\)"
        path.write_text(re.sub(link, r"\1", path.read_text(encoding="utf-8")), encoding="utf-8")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", folder, "--builder", "singlehtml", "-W", "-n",
               "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise SystemExit(f"joining the pages failed:\n{(done.stdout + done.stderr)[-3000:]}")
    page = folder / "_build" / "singlehtml" / "book" / "intro.html"
    text = re.sub(r'href="(?:book/intro\.html|#document-[^"#]*)#', 'href="#', page.read_text(encoding="utf-8"))
    whole = page.parents[1] / "patchwork.html"  # its addresses count from this folder
    whole.write_text(text, encoding="utf-8")
    return whole


def print_page(page: Path) -> bytes:
    """The page as PDF, with page numbers, an outline, and links that work."""
    driver = open_browser()
    try:
        driver.set_script_timeout(1200)
        driver.get(page.as_uri())
        driver.execute_async_script(PREPARE, STYLE)
        broken = driver.execute_script("return [...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
        if broken:
            raise SystemExit(f"{page} has images that do not show: {broken[:3]}")
        number = '<div style="font-size:8px;width:100%;text-align:center"><span class="pageNumber"></span></div>'
        printed = driver.execute_cdp_cmd("Page.printToPDF", {
            "scale": 0.87, "printBackground": True, "preferCSSPageSize": True, "displayHeaderFooter": True,
            "headerTemplate": "<span></span>", "footerTemplate": number,
            "generateTaggedPDF": True, "generateDocumentOutline": True})
    finally:
        driver.quit()
    return base64.b64decode(printed["data"])


def main() -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", type=Path, default=ROOT / "_build" / "patchwork.pdf")
    target = parser.parse_args().target
    data = print_page(join_pages(ROOT / "_build" / "single"))
    write_atomically(target, data)
    print(f"{target}: {len(data) / 2**20:.1f} MB")


if __name__ == "__main__":
    main()
