"""Archives that would harm whoever unpacks them."""

import stat
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cofi_dist.data.datasets.catalog import DataSet
from cofi_dist.data.datasets.download import fetch
from cofi_dist.errors import DataError, RunError
from tests.support.dataset_server import ARCHIVE, GOOD, Site, Told, left_in, packed, refused


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
    assert left_in(tmp_path) == []


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
