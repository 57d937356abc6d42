"""Write the tree of the package into docs/architecture.md, one line per file.

    python -m tools.tree

The line of a file is the first line of its docstring, so it is true as long as that is.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- begin tree -->\n", "<!-- end tree -->\n"
WIDTH = 26  # columns before the sentences


def tree(package: Path) -> str:
    """Return the tree of a package as an indented block of Markdown: files first, then folders."""
    return "\n" + "".join(f"    {line}\n" for line in _lines(package, 0)) + "\n"


def _lines(folder: Path, depth: int) -> list[str]:
    found = [_line(f"{folder.name}/", folder / "__init__.py", depth)]
    inside = sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name))
    for path in inside:
        if path.is_dir() and (path / "__init__.py").exists():
            found += _lines(path, depth + 1)
        elif path.suffix == ".py" and path.name != "__init__.py":
            found.append(_line(path.name, path, depth + 1))
    return found


def _line(name: str, file: Path, depth: int) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring, f"{file} has no docstring"
    return f"{'  ' * depth + name:{WIDTH}} {docstring.splitlines()[0]}"


def page(text: str) -> str:
    """Return the page with the tree of today between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + tree(ROOT / "cofi_dist") + END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
