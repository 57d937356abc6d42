"""The tree in docs/architecture.md is the tree of today."""

from tools import tree


def test_the_tree_is_up_to_date() -> None:
    text = tree.PAGE.read_text(encoding="utf-8")
    assert tree.page(text) == text, "run python -m tools.tree"
