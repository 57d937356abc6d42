"""Downloads from a real server on this machine: broken, truncated, changed and wrong ones."""

import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cofi_dist.data.datasets import archive, download
from cofi_dist.data.datasets.catalog import DataSet
from cofi_dist.data.datasets.download import fetch
from cofi_dist.errors import RunError
from tests.support.dataset_server import (
    ARCHIVE,
    GOOD,
    RATINGS,
    Site,
    Told,
    assert_whole,
    left_in,
    packed,
    refused,
)


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

    monkeypatch.setattr(download, "BLOCK_BYTES", 1000)
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
        patch.setattr(archive, "_extract", full)
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


def test_a_full_disk_is_one_line(toy: DataSet, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # as a full disk, after so many bytes
    try:
        says = refused(toy, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert ".toy.zip.part: cannot be written: a file would grow beyond what" in says
    assert "(see `ulimit -f`); put that right and try again" in says
    fetch(toy, tmp_path, Told())
    assert_whole(tmp_path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", [".toy.zip.part", ".toy.zip.mark"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["a pipe", "a folder"])
def test_what_is_no_file_in_the_place_of_the_part_is_one_line(
    make: Callable[[Path], object], name: str, toy: DataSet, tmp_path: Path
) -> None:
    make(tmp_path / name)
    assert f"{name}: cannot be used: it is a " in refused(toy, tmp_path)


def test_three_commands_at_once_fetch_a_data_set_once(toy: DataSet, site: Site, tmp_path: Path) -> None:
    site.stalls = 0.3
    told = [Told() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda report: fetch(toy, tmp_path, report), told))
    assert_whole(tmp_path)
    assert site.asked == [None]
    waited = [report for report in told if "another command is fetching" in report.notes[0]]
    assert len(waited) == 2
    assert all(report.notes[-1] == f"toy is already in {tmp_path}/toy." for report in waited)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_is_one_line(toy: DataSet, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(toy, tmp_path)


def test_a_root_that_is_a_file_is_one_line(toy: DataSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(toy, tmp_path / "file").startswith(f"{tmp_path}/file")
