"""Downloads from a real server on this machine: broken, truncated, changed, wrong and hostile ones."""

import hashlib
import io
import os
import stat
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cofi_dist.data import download
from cofi_dist.data.download import fetch
from cofi_dist.data.known import DataSet
from cofi_dist.errors import CofiError, DataError, RunError

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


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    return Site()


@pytest.fixture
def toy(site: Site) -> Iterator[DataSet]:
    """A data set that the site serves."""
    handler = type("HandlerOfSite", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield DataSet(
            name="toy",
            url=f"http://127.0.0.1:{server.server_port}/toy.zip",
            archive_bytes=len(ARCHIVE),
            unpacked_bytes=200_000,
            md5=hashlib.md5(ARCHIVE).hexdigest(),
            folder="toy",
            ratings="ratings.csv",
            titles="movies.csv",
            num_ratings=4000,
            note="free",
        )
        server.shutdown()


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


def test_a_good_archive_is_unpacked_and_nothing_else_stays(toy: DataSet, site: Site, tmp_path: Path) -> None:
    root, told = tmp_path / "new" / "root", Told()
    assert fetch(toy, root, told) == root / "toy/ratings.csv"
    assert_whole(root)
    assert site.asked == [None]
    assert told.sizes[-1] == len(ARCHIVE)


def test_a_data_set_on_disk_is_not_fetched_again(toy: DataSet, site: Site, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/ratings.csv").write_text("mine")
    told = Told()
    assert fetch(toy, tmp_path, told).read_text() == "mine"
    assert site.asked == []
    assert told.notes == [f"toy is already in {tmp_path}/toy."]


def test_a_folder_in_the_way_is_named_before_anything_is_fetched(
    toy: DataSet, site: Site, tmp_path: Path
) -> None:
    (tmp_path / "toy").mkdir()
    assert "is there, but without ratings.csv; remove it" in refused(toy, tmp_path)
    assert site.asked == []


def test_a_broken_connection_goes_on_where_it_broke(toy: DataSet, site: Site, tmp_path: Path) -> None:
    site.breaks = [1000, 2000]
    told = Told()
    fetch(toy, tmp_path, told)
    assert_whole(tmp_path)
    assert site.asked == [None, "bytes=1000-", "bytes=3000-"]
    assert "the connection ended after 1,000 of" in told.notes[1]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(toy: DataSet, site: Site, tmp_path: Path) -> None:
    site.breaks = [1000] + [0] * (download.ATTEMPTS - 1)
    assert "the 1,000 bytes so far are kept; try again" in refused(toy, tmp_path)
    assert left_in(tmp_path) == [".toy.zip.mark", ".toy.zip.part"]
    assert (tmp_path / ".toy.zip.part").read_bytes() == ARCHIVE[:1000]
    site.asked.clear()
    fetch(toy, tmp_path, Told())
    assert_whole(tmp_path)
    assert site.asked == ["bytes=1000-"]


def test_control_c_keeps_what_came(
    toy: DataSet, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Told):
        def received(self, done: int, total: int | None) -> None:
            if done >= 5000:
                raise KeyboardInterrupt

    monkeypatch.setattr(download, "BLOCK", 1000)
    with pytest.raises(KeyboardInterrupt):
        fetch(toy, tmp_path, Interrupting())
    assert (tmp_path / ".toy.zip.part").read_bytes() == ARCHIVE[:5000]
    fetch(toy, tmp_path, Told())
    assert site.asked == [None, "bytes=5000-"]
    assert_whole(tmp_path)


def test_an_archive_that_had_come_is_not_fetched_again(
    toy: DataSet, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download, "_extract", full)
        says = refused(toy, tmp_path, RunError)
        assert says == f"{tmp_path}/toy: cannot be written: No space left on device"
    assert left_in(tmp_path) == [".toy.zip.mark", ".toy.zip.part"]
    site.breaks = [0]
    fetch(toy, tmp_path, Told())
    assert site.asked == [None, f"bytes={len(ARCHIVE)}-"]
    assert_whole(tmp_path)


def test_a_server_without_ranges_is_asked_for_all_again(toy: DataSet, site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.breaks = [1000]
    fetch(toy, tmp_path, Told())
    assert_whole(tmp_path)
    assert site.asked == [None, "bytes=1000-"]


def test_a_server_without_marks_is_never_gone_on_from(toy: DataSet, site: Site, tmp_path: Path) -> None:
    site.etag = ""
    site.breaks = [1000]
    fetch(toy, tmp_path, Told())
    assert_whole(tmp_path)
    assert site.asked == [None, None]


@pytest.mark.parametrize("polite", [True, False], ids=["heeds If-Range", "ignores If-Range"])
def test_a_file_that_changed_is_not_joined_to_its_old_half(
    polite: bool, toy: DataSet, site: Site, tmp_path: Path
) -> None:
    site.breaks = [1000] + [0] * (download.ATTEMPTS - 1)
    refused(toy, tmp_path)
    site.body = packed({**GOOD, "toy/new.csv": "x"})
    site.etag = '"v2"'
    if not polite:
        (tmp_path / ".toy.zip.mark").write_text('"v2"')
        site.headers = {"ETag": '"v3"'}
    fetch(replace(toy, md5=None), tmp_path, Told())
    assert (tmp_path / "toy/new.csv").read_text() == "x"
    assert (tmp_path / "toy/ratings.csv").read_text() == RATINGS


def test_a_file_that_shrank_is_fetched_anew(toy: DataSet, site: Site, tmp_path: Path) -> None:
    (tmp_path / ".toy.zip.part").write_bytes(b"x" * (len(ARCHIVE) + 5))
    (tmp_path / ".toy.zip.mark").write_text(site.etag)
    fetch(toy, tmp_path, Told())
    assert_whole(tmp_path)
    assert site.asked == [f"bytes={len(ARCHIVE) + 5}-", None]


@pytest.mark.parametrize(
    "content_range", ["bytes 7-99/100", "bytes 1000-", "items 1000-2000/3000", "", "bytes 1000-2000/*"]
)
def test_another_range_than_asked_for_is_not_taken(
    content_range: str, toy: DataSet, site: Site, tmp_path: Path
) -> None:
    site.breaks = [1000]
    site.headers = {"Content-Range": content_range}
    fetch(toy, tmp_path, Told())
    assert_whole(tmp_path)
    assert site.asked == [None, "bytes=1000-", None]


@pytest.mark.parametrize("mark", ["two\nlines", "wéird", "\x00"])
def test_a_mark_that_cannot_be_sent_is_not_sent(mark: str, toy: DataSet, site: Site, tmp_path: Path) -> None:
    (tmp_path / ".toy.zip.part").write_bytes(ARCHIVE[:1000])
    (tmp_path / ".toy.zip.mark").write_text(mark)
    fetch(toy, tmp_path, Told())
    assert site.asked == [None]
    assert_whole(tmp_path)


def test_a_server_that_promises_more_than_it_sends_is_given_up(
    toy: DataSet, site: Site, tmp_path: Path
) -> None:
    site.ranges = False
    site.breaks = [1000] * download.ATTEMPTS
    says = refused(toy, tmp_path)
    assert f"the connection ended after 1,000 of {len(ARCHIVE):,} bytes" in says
    assert len(site.asked) == download.ATTEMPTS


def test_a_silent_server_is_given_up(
    toy: DataSet, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    site.stalls = 0.3
    assert refused(toy, tmp_path).endswith("timed out; try again when the network is back")


def test_no_server_is_one_line(toy: DataSet, tmp_path: Path) -> None:
    nowhere = replace(toy, url="http://127.0.0.1:1/toy.zip")
    says = refused(nowhere, tmp_path / "root")
    assert says == f"{nowhere.url}: Connection refused; try again when the network is back"
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("status", "says", "times"),
    [
        (404, "the server answers 404 Not Found; see https://grouplens.org/datasets/movielens/", 1),
        (403, "the server answers 403 Forbidden; see", 1),
        (503, "the server answers 503 Service Unavailable; try again", download.ATTEMPTS),
    ],
)
def test_an_answer_that_is_no_file_is_one_line(
    status: int, says: str, times: int, toy: DataSet, site: Site, tmp_path: Path
) -> None:
    site.status = status
    assert says in refused(toy, tmp_path)
    assert len(site.asked) == times
    assert left_in(tmp_path) == []


def test_a_wrong_checksum_deletes_the_download(toy: DataSet, site: Site, tmp_path: Path) -> None:
    site.body = packed({**GOOD, "toy/ratings.csv": RATINGS.replace("5", "4")})
    says = refused(toy, tmp_path)
    assert "refused, and the download deleted: its md5 is " in says
    assert f"not the published {toy.md5}; try again" in says
    assert left_in(tmp_path) == []


def with_mode(mode: int) -> bytes:
    return packed({"toy/ratings.csv": "../../secret"}, external_attr=mode << 16)


def patched(archive: bytes, at: int, value: bytes) -> bytes:
    """The archive with bytes of its last member's central entry replaced."""
    where = archive.rindex(b"PK\x01\x02") + at
    return archive[:where] + value + archive[where + len(value) :]


def lying_bomb(crc: bytes | None = None) -> bytes:
    """One member that declares 10 bytes, in both headers, and holds a hundred thousand."""
    archive, ten = packed({"toy/ratings.csv": "0" * 100_000}), (10).to_bytes(4, "little")
    archive = patched(archive[:22] + ten + archive[26:], 24, ten)
    return patched(archive[:14] + crc + archive[18:], 16, crc) if crc else archive


def bomb_of_ten_bytes() -> bytes:
    """The same, with the checksum of its first ten bytes."""
    return lying_bomb(zlib.crc32(b"0" * 10).to_bytes(4, "little"))


def twice() -> bytes:
    return packed({"toy/ratings.csv": "one", "toy/ratings.cs_": "two"}).replace(b"cs_", b"csv")


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a web page": (lambda: b"<html>come back later</html>", "it is not a whole zip archive"),
    "nothing at all": (lambda: b"", "it is not a whole zip archive"),
    "its first half": (lambda: ARCHIVE[: len(ARCHIVE) // 2], "it is not a whole zip archive"),
    "its end cut": (lambda: ARCHIVE[:-30], "it is not a whole zip archive"),
    "a flipped byte": (lambda: ARCHIVE[:2000] + b"\xff\xff\xff" + ARCHIVE[2003:], "not a whole zip archive"),
    "a bomb": (lambda: packed({**GOOD, "toy/b": "0" * 200_000}), "toy has 200,000 at most"),
    "a lying bomb": (lying_bomb, "'toy/ratings.csv' has another size than declared"),
    "a well lying bomb": (bomb_of_ten_bytes, "Bad CRC-32 for file 'toy/ratings.csv'"),
    "a large archive": (lambda: b"PK" * 150_000, "it is larger than all of toy unpacked"),
    "an absolute path": (lambda: packed({**GOOD, "/etc/x": ""}), "'/etc/x' does not lie in the folder toy"),
    "dots": (lambda: packed({**GOOD, "toy/../../x": ""}), "'toy/../../x' does not lie in the folder toy"),
    "one dot": (lambda: packed({**GOOD, "toy/./x": ""}), "'toy/./x' does not lie in the folder toy"),
    "an empty part": (lambda: packed({**GOOD, "toy//x": ""}), "'toy//x' does not lie in the folder toy"),
    "a drive": (lambda: packed({**GOOD, "C:/x": ""}), "'C:/x' does not lie in the folder toy"),
    "a drive inside": (lambda: packed({**GOOD, "toy/C:x": ""}), "'toy/C:x' does not lie in the folder toy"),
    "backslashes": (lambda: packed({**GOOD, "toy/..\\x": ""}), r"'toy/..\\x' does not lie in the folder toy"),
    "another folder": (lambda: packed({**GOOD, "joy/x": ""}), "'joy/x' does not lie in the folder toy"),
    "no folder": (lambda: packed({"ratings.csv": ""}), "'ratings.csv' does not lie in the folder toy"),
    "folder as file": (lambda: packed({"toy": "x"}), "'toy' does not lie in the folder toy"),
    "a line break": (lambda: packed({**GOOD, "toy/a\nb": ""}), r"'toy/a\nb' does not lie in the folder toy"),
    "a symlink": (lambda: with_mode(stat.S_IFLNK | 0o777), "is a link or another special file"),
    "a device": (lambda: with_mode(stat.S_IFCHR | 0o666), "is a link or another special file"),
    "a pipe": (lambda: with_mode(stat.S_IFIFO | 0o666), "is a link or another special file"),
    "encrypted": (lambda: patched(ARCHIVE, 8, b"\x01"), "'toy/extra/movies.csv' is encrypted"),
    "odd compression": (lambda: patched(ARCHIVE, 10, b"\x63"), "is compressed in an unusual way"),
    "a name twice": (twice, "a name is in it twice"),
    "a name in capitals": (lambda: packed({**GOOD, "toy/RATINGS.csv": ""}), "a name is in it twice"),
    "no ratings": (lambda: packed({"toy/movies.csv": "x"}), "toy/ratings.csv is not in it"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_leaves_nothing(case: str, toy: DataSet, site: Site, tmp_path: Path) -> None:
    make, says = HOSTILE[case]
    site.body = make()
    root = tmp_path / "root"
    message = refused(replace(toy, md5=None), root)
    assert message.startswith(f"{toy.url}: refused, and the download deleted: ")
    assert says in message
    assert left_in(tmp_path) == ["root"]


def test_any_damaged_byte_is_refused_or_harmless(toy: DataSet, site: Site, tmp_path: Path) -> None:
    small = packed({"toy/": "", "toy/ratings.csv": "1,2,3\n" * 20})
    for at in range(len(small)):
        site.body = small[:at] + bytes([small[at] ^ 0xFF]) + small[at + 1 :]
        root = tmp_path / str(at)
        try:
            ratings = fetch(replace(toy, md5=None), root, Told())
        except (DataError, RunError):
            assert left_in(root) == []
        else:
            assert ratings.read_text() == "1,2,3\n" * 20


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(toy: DataSet, tmp_path: Path) -> None:
    (tmp_path / ".toy.zip.part").symlink_to("/dev/full")
    says = refused(toy, tmp_path)
    assert says.endswith(
        ".toy.zip.part: cannot be written: No space left on device; put that right and try again"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_is_one_line(toy: DataSet, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(toy, tmp_path)


def test_a_root_that_is_a_file_is_one_line(toy: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(toy, tmp_path / "file").startswith(f"{tmp_path}/file")
