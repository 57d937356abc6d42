"""The docs name files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = sorted(
    path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "runs", "data"))
)
INSIDE = sorted(path.name for path in (ROOT / "cofi_dist").iterdir() if path.is_dir())
# tests/test_x.py, cofi_dist/cost/, kernels/cpu/simd.py: a path from the root, or from the package
NAMED = re.compile(rf"(?<![\w./-])((?:{'|'.join(FOLDERS + INSIDE)})/[\w./]*\w(?:\.py|\.md|\.sh|/)?)")

SUFFIXES = (".py", ".md", ".sh", ".json", ".sbatch", ".yaml")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = [name for name in NAMED.findall(page.read_text(encoding="utf-8")) if name.endswith(SUFFIXES)]
    roots = ROOT, ROOT / "cofi_dist"
    missing = [name for name in named if not any((root / name).exists() for root in roots)]
    missing = [name for name in missing if "NAME" not in name]  # of a file that is to be written
    assert not missing, f"{page.name} names {missing}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
