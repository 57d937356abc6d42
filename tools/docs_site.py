"""Give the documentation site the pages that lie outside docs/, and lead links to their places in it.

mkdocs calls the functions `on_...` (hooks in mkdocs.yml). The pages are written for whoever reads them in the
repository: README.md links to docs/tour.md, and docs/tour.md to ../README.md.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# `[text](target)`, but neither a URL nor a place on the same page
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and every other file that a page links to, such as a notebook."""
    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    linked = {
        repository_path(target, file.src_uri)
        for file in files.documentation_pages()
        for target in LINK.findall(file.content_string)
    }
    for path in sorted(linked - OUTSIDE.keys()):
        if not path.startswith("docs/") and (ROOT / path).is_file():
            files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to where their targets are in the site."""
    here = page.file.src_uri
    return LINK.sub(lambda link: site_link(link[0], here), markdown)


def repository_path(target: str, page: str) -> str:
    """Return the path from the root of the repository to what a page of the site links to."""
    source = {place: name for name, place in OUTSIDE.items()}.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def site_link(target: str, page: str) -> str:
    """Return the link from a page of the site to what it links to in the repository."""
    path = repository_path(target, page)
    inside = path.removeprefix("docs/") if path.startswith("docs/") else OUTSIDE.get(path, f"files/{path}")
    return posixpath.relpath(inside, posixpath.dirname(page) or ".")
