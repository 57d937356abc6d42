"""Give the documentation site the pages that lie outside docs/, and lead links to their places in it.

mkdocs calls the functions `on_...` (hooks in mkdocs.yml). The pages are written for whoever reads them in the
repository: README.md links to docs/tour.md, and docs/tour.md to ../README.md.
"""

import posixpath
import re
from functools import partial
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
# `[text](target` of a link that is neither a URL nor a place on the same page
LINK = re.compile(r"\[([^][]*)\]\((?![a-z]+:|#)([^)#\s]+)")
# the name of a page in HTML, or all of what is a link or code already
NAMED = re.compile(r"<(?:a|pre|code)\b.*?</(?:a|pre|code)>|\bdocs/([\w/]+\.md)", re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and every other file that a page links to, such as a notebook."""
    for name, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    linked = {
        repository_path(target, file.src_uri)
        for file in files.documentation_pages()
        for _, target in LINK.findall(file.content_string)
    }
    for path in sorted(linked - OUTSIDE.keys()):
        if not path.startswith("docs/") and (ROOT / path).is_file():
            files.append(File.generated(config, f"files/{path}", abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links of a page to where their targets are in the site, and call pages by their titles."""
    return LINK.sub(partial(site_link, page=page.file.src_uri, files=files), markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link the pages that docstrings and the changelog name in plain text, such as docs/config.md."""

    def link(found: re.Match[str]) -> str:
        file = found[1] and files.get_file_from_path(found[1])
        if not file or not file.page:
            return found[0]
        return f'<a href="{file.url_relative_to(page.file)}">{file.page.title}</a>'

    return NAMED.sub(link, html)


def repository_path(target: str, page: str) -> str:
    """Return the path from the root of the repository to what a page of the site links to."""
    source = {place: name for name, place in OUTSIDE.items()}.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))


def site_link(link: re.Match[str], page: str, files: Files) -> str:
    """Return the beginning of a link of a page as it is in the site."""
    text, target = link.groups()
    path = repository_path(target, page)
    place = path.removeprefix("docs/") if path.startswith("docs/") else OUTSIDE.get(path, f"files/{path}")
    file = files.get_file_from_path(place)
    if text in (target, path, posixpath.basename(path)) and file and file.page and file.page.title:
        text = str(file.page.title)
    return f"[{text}]({posixpath.relpath(place, posixpath.dirname(page) or '.')}"
