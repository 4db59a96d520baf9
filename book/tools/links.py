"""Tell the book where it lives: sets the address behind its source, issue, edit, Colab and Binder links.

    python book/tools/links.py owner/name [--branch main]    set it, in _config.yml, README.md and every chapter
    python book/tools/links.py owner/name --tag v1.0         the same for an edition: a tag has nothing to edit
    python book/tools/links.py --clear                       take it out again
"""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from chapters import ROOT, as_text, chapters, is_setup, read_notebook, read_text, say_anything, source, write_atomically

OWNER_NAME = re.compile(r"(?:https://github\.com/)?([A-Za-z0-9][A-Za-z0-9-]{0,38})/([A-Za-z0-9_.-]{1,100}?)(?:\.git)?/?")
BRANCH = re.compile(r"(?![/.-])(?!.*(\.\.|//))[A-Za-z0-9_./-]+(?<![/.])")
COLAB, BINDER = "https://colab.research.google.com", "https://mybinder.org"
# The paragraph that this tool writes. One that begins alike and goes on otherwise is somebody's own.
RUN = re.compile(rf"\n\n\[Open in Colab\]\({COLAB}/[^)\n]*\) · \[Open in Binder\]\({BINDER}/[^)\n]*\)"
                 r"(?: · \[Read the site\]\([^)\n]*\))?(?=\n|$)")


def read_address(text: str) -> str:
    """owner/name of a repository on GitHub, from itself or from its web address."""
    match = OWNER_NAME.fullmatch(text)
    if not match or set(match[2]) == {"."}:
        raise ValueError(f"{text!r} is no address of a repository; expected owner/name, such as ada/patchwork")
    return f"{match[1]}/{match[2]}"


def change_config(text: str, address: str, branch: str, is_tag: bool) -> str:
    """_config.yml with the lines that hold the address set; all others, comments too, stay as they are."""
    on = "true" if address else "false"
    lines = {"url": f'"https://github.com/{address}"' if address else '""', "branch": branch,
             "colab_url": f'"{COLAB}"' if address else '""', "binderhub_url": f'"{BINDER}"' if address else '""',
             "use_repository_button": on, "use_issues_button": on, "use_edit_page_button": "false" if is_tag else on}
    for key, value in lines.items():
        text, found = re.subn(rf"(?m)^  {key}:.*$", f"  {key}: {value}", text)
        if found != 1:
            raise ValueError(f"_config.yml has {found} lines '  {key}: …', expected one")
    return text


def with_run_line(text: str, below: str, path: str, address: str, branch: str, more: str = "") -> str:
    """Markdown with one paragraph of links to run `path`, below the line that the pattern `below` matches."""
    text = RUN.sub("", text)
    if not address:
        return text
    links = (f"\n\n[Open in Colab]({COLAB}/github/{address}/blob/{branch}/{path}) · "
             f"[Open in Binder]({BINDER}/v2/gh/{address}/{branch}?urlpath=lab/tree/{path}){more}")
    text, found = re.subn(rf"(?m){below}", lambda line: line[0] + links, text, count=1)
    if not found:
        raise ValueError(f"{path}: no line matches {below!r}, below which the links to run it stand")
    return text


def change_notebook(path: Path, address: str, branch: str) -> str:
    """A chapter's text with the address in its setup cell, and its links to run it below its minutes."""
    notebook = read_notebook(path)
    found, place = 0, f"notebooks/{path.name}"
    for i, cell in enumerate(notebook["cells"]):
        text = source(cell)
        if i == 0:
            text = with_run_line(text, r"^\*\d+ minutes.*$", place, address, branch)
        for name, value in (("REPOSITORY", address), ("BRANCH", branch)) if is_setup(cell) else ():
            text, count = re.subn(rf'(?m)^{name} = ".*?"', f'{name} = "{value}"', text)
            found += count
        cell["source"] = text.splitlines(keepends=True) if isinstance(cell["source"], list) else text
    if found != 2:
        raise ValueError(f'{path} has {found} lines REPOSITORY = "…" and BRANCH = "…" in its setup cell, expected one '
                         "of each; `python book/tools/notebooks.py` writes that cell")
    return as_text(notebook)


def change_readme(text: str, address: str, branch: str, first: str) -> str:
    """README.md with links to the first chapter and to the site, below its title."""
    owner, _, name = address.partition("/")
    host = f"{owner.lower()}.github.io"
    site = f" · [Read the site](https://{host}/{'' if name.lower() == host else name + '/'})"
    return with_run_line(text, r"^# .*$", first, address, branch, site)


def set_links(root: Path, address: str, branch: str = "main", is_tag: bool = False) -> list[Path]:
    """Change all files or, when one of them is not as expected, none; returns those that changed."""
    if not BRANCH.fullmatch(branch):
        raise ValueError(f"{branch!r} is no name of a branch; expected one such as main")
    config, readme = root / "_config.yml", root / "README.md"
    notebooks = chapters(root)
    if not notebooks:
        raise ValueError(f"{root / 'notebooks'} has no chapters; expected notebooks such as 01_images.ipynb")
    new = {config: change_config(read_text(config), address, branch, is_tag),
           readme: change_readme(read_text(readme), address, branch, f"notebooks/{notebooks[0].name}")}
    new |= {path: change_notebook(path, address, branch) for path in notebooks}
    changed = [path for path, text in new.items() if text != read_text(path)]
    for path in changed:
        write_atomically(path, new[path].encode())
    return changed


def main(arguments: list[str] | None = None) -> None:
    say_anything()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", metavar="owner/name", help="the repository on GitHub")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--branch", default="main", help="the branch that readers see (default: main)")
    where.add_argument("--tag", help="the tag that readers see: links lead to it, and the edit buttons are left out")
    where.add_argument("--clear", action="store_true", help="take the address out")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if bool(args.address) == args.clear:
        parser.error("give owner/name, or --clear" + (", not both" if args.clear else ""))
    try:
        address = "" if args.clear else read_address(args.address)
        changed = set_links(args.root, address, "main" if args.clear else args.tag or args.branch, bool(args.tag))
    except (ValueError, OSError) as error:
        raise SystemExit(f"links.py: {error}") from error
    print(f"{address or 'no address'}: {len(changed)} files changed")


if __name__ == "__main__":
    main()
