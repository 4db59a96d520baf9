"""Tell the book where it lives: sets the address behind its source, issue, edit and Colab links.

    python book/tools/links.py owner/name [--branch main]    set it, in _config.yml and in every chapter
    python book/tools/links.py --clear                       take it out again
"""

import argparse
import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OWNER_NAME = re.compile(r"(?:https://github\.com/)?([A-Za-z0-9][A-Za-z0-9-]{0,38})/([A-Za-z0-9_.-]{1,100}?)(?:\.git)?/?")
BRANCH = re.compile(r"(?![/.-])(?!.*(\.\.|//))[A-Za-z0-9_./-]+(?<![/.])")


def read_address(text: str) -> str:
    """owner/name of a repository on GitHub, from itself or from its web address."""
    match = OWNER_NAME.fullmatch(text)
    if not match or set(match[2]) == {"."}:
        raise ValueError(f"{text!r} is no address of a repository; expected owner/name, such as ada/patchwork")
    return f"{match[1]}/{match[2]}"


def change_config(text: str, address: str, branch: str) -> str:
    """_config.yml with the lines that hold the address set; all others, comments too, stay as they are."""
    on = "true" if address else "false"
    lines = {"url": f'"https://github.com/{address}"' if address else '""', "branch": branch,
             "colab_url": '"https://colab.research.google.com"' if address else '""',
             "use_repository_button": on, "use_issues_button": on, "use_edit_page_button": on}
    for key, value in lines.items():
        text, found = re.subn(rf"(?m)^  {key}:.*$", f"  {key}: {value}", text)
        if found != 1:
            raise ValueError(f"_config.yml has {found} lines '  {key}: …', expected one")
    return text


def change_notebook(path: Path, address: str, branch: str) -> str:
    """A chapter's text with the lines REPOSITORY = "…" and BRANCH = "…" of its setup cell set."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        for name, value in (("REPOSITORY", address), ("BRANCH", branch)):
            source, count = re.subn(rf'(?m)^{name} = ".*?"', f'{name} = "{value}"', source)
            found += count
        cell["source"] = source.splitlines(keepends=True) if isinstance(cell["source"], list) else source
    if found != 2:
        raise ValueError(f'{path} has {found} lines REPOSITORY = "…" and BRANCH = "…" in code, expected one of each')
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def set_links(root: Path, address: str, branch: str = "main") -> list[Path]:
    """Change all files or, when one of them is not as expected, none; returns those that changed."""
    if not BRANCH.fullmatch(branch):
        raise ValueError(f"{branch!r} is no name of a branch; expected one such as main")
    config = root / "_config.yml"
    new = {config: change_config(config.read_text(encoding="utf-8"), address, branch)}
    new |= {path: change_notebook(path, address, branch) for path in sorted((root / "notebooks").glob("*.ipynb"))}
    changed = [path for path, text in new.items() if text != path.read_text(encoding="utf-8")]
    for path in changed:
        part = path.with_name(f".{path.name}.part")
        part.write_text(new[path], encoding="utf-8")
        os.replace(part, path)  # a reader sees the old file or the new one, never half of it
    return changed


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", metavar="owner/name", help="the repository on GitHub")
    parser.add_argument("--branch", default="main", help="the branch that readers see (default: main)")
    parser.add_argument("--clear", action="store_true", help="take the address out")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if bool(args.address) == args.clear:
        parser.error("give owner/name, or --clear" + (", not both" if args.clear else ""))
    try:
        address = "" if args.clear else read_address(args.address)
        changed = set_links(args.root, address, "main" if args.clear else args.branch)
    except (ValueError, OSError) as error:
        raise SystemExit(f"links.py: {error}") from error
    print(f"{address or 'no address'}: {len(changed)} files changed")


if __name__ == "__main__":
    main()
