"""A server on this machine that serves one data set, well or badly; for the tests of downloads."""

import hashlib
import io
import time
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from cofi_dist.data.datasets.catalog import DataSet
from cofi_dist.data.datasets.download import fetch
from cofi_dist.errors import CofiError, DataError

RATINGS = "userId,movieId,rating\n" + "".join(f"{i},{i * 7},{i % 5 + 1}\n" for i in range(4000))
GOOD = {"toy/": "", "toy/ratings.csv": RATINGS, "toy/extra/movies.csv": "movieId,title\n7,One\n"}


def packed(files: dict[str, str], **attributes: object) -> bytes:
    """A zip archive; the attributes are set on every member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, text)
    return buffer.getvalue()


ARCHIVE = packed(GOOD)


def toy_data_set(url: str) -> DataSet:
    """The data set that is in ARCHIVE, served at this address."""
    return DataSet(
        name="toy",
        url=url,
        archive_bytes=len(ARCHIVE),
        unpacked_bytes=200_000,
        md5=hashlib.md5(ARCHIVE).hexdigest(),
        folder="toy",
        ratings="ratings.csv",
        titles="movies.csv",
        num_ratings=4000,
        note="free",
    )


@dataclass
class Site:
    """What the server does, and what it was asked.

    Attributes:
        body: of /toy.zip.
        etag: sent with it; empty: none, and no date.
        ranges: whether it heeds Range and If-Range.
        breaks: after how many bytes each coming answer breaks off.
        headers: sent with the answer to a Range, instead of the right ones.
        status: of every answer, instead of the right one.
        stalls: seconds before the body.
        asked: the Range of every request so far.
    """

    body: bytes = ARCHIVE
    etag: str = '"v1"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    stalls: float = 0.0
    asked: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.asked.append(wanted)
        fresh = self.headers.get("If-Range") in (None, site.etag)
        start = int(wanted[len("bytes=") : -1]) if wanted and site.ranges and fresh else 0
        size = len(site.body)
        headers = {"ETag": site.etag} if site.etag else {}
        if start and start >= size:
            headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            return self.answer(416, headers, b"")
        headers["Content-Length"] = str(size - start)
        if start:
            headers |= {"Content-Range": f"bytes {start}-{size - 1}/{size}", **site.headers}
        end = start + site.breaks.pop(0) if site.breaks else size
        return self.answer(206 if start else 200, headers, site.body[start:end])

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(self.site.status or status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()
        time.sleep(self.site.stalls)
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Told:
    """A report that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.sizes: list[int] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def received(self, done: int, total: int | None) -> None:
        self.sizes.append(done)


def left_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def assert_whole(root: Path) -> None:
    assert left_in(root) == ["toy", "toy/extra", "toy/extra/movies.csv", "toy/ratings.csv"]
    assert (root / "toy/ratings.csv").read_text() == RATINGS


def refused(toy: DataSet, root: Path, error: type[CofiError] = DataError) -> str:
    """The one line of a fetch that fails."""
    with pytest.raises(error) as caught:
        fetch(toy, root, Told())
    assert "\n" not in str(caught.value)
    return str(caught.value)
