"""The studies that make the book's records.

    python book/studies               list them
    python book/studies NAME …        run one; --help says what it takes, --dry is a trial of a minute
"""

import ast
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).parent


def studies() -> dict[str, str]:
    """{name: first line of its docstring} of every file here that has a `main`."""
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.py"))}
    return {name: ast.get_docstring(tree).splitlines()[0] for name, tree in trees.items() if name != "__main__"
            and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)}


def main(arguments: list[str]) -> None:
    """List the studies, or run the one that is named."""
    for stream in (sys.stdout, sys.stderr):  # a terminal without UTF-8 shows \u2026 where it has no letter
        stream.reconfigure(errors="backslashreplace")
    known = studies()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__, *(f"  {name:14} {about}" for name, about in known.items()), sep="\n")
        return
    name, *rest = arguments
    if name not in known:
        raise SystemExit(f"there is no study {name!r}; there are {', '.join(known)}")
    sys.argv = [f"book/studies {name}", *rest]
    importlib.import_module(name).main()


if __name__ == "__main__":
    main(sys.argv[1:])
