"""The live page in the built site: its own files from book/_live, and beside them the weights and images that
`book/tools/live.py` writes from the zoo. A Sphinx extension.

They stand below _live and not below _static, because a script in a static folder is linked on every page. A page that
holds `data-live` gets the scripts that a small live model needs, and no other page does.
"""

import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
SCRIPTS = ("vit.js", "weights.js", "images.js", "paint.js", "worker.js", "glance.js", "widgets.js")


def write_live(app: Sphinx, exception: Exception | None) -> None:
    """Fill _live of the built site."""
    if exception or app.builder.format != "html":
        return
    sys.path.insert(0, str(ROOT / "book" / "tools"))
    import live

    folder = Path(app.outdir) / "_live"
    shutil.copytree(ROOT / "book" / "_live", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    live.write(folder)


def add_scripts(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Put the scripts behind the text of a page that asks for them; `defer` runs them in order, when it is shown."""
    if "data-live" in context.get("body", ""):
        places = [context["pathto"](f"_live/{name}", resource=True) for name in SCRIPTS]
        context["body"] += "".join(f'<script defer src="{place}"></script>' for place in places)


def setup(app: Sphinx) -> dict:
    app.connect("build-finished", write_live)
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
