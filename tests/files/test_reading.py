"""What is read is a regular file of a bounded size; whatever else stands there is refused at once."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cofi_dist.files.reading import (
    open_regular,
    read_bytes,
    read_json,
    read_text,
    shortened,
)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def large(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


ODD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (Path.mkdir, "a folder"),
    "a pipe": (os.mkfifo, "a pipe"),
    "a socket": (listening, "a socket"),
    "a device without end": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "a large file": (large, "1,099,511,627,776 bytes"),
    "nothing": (lambda path: None, "No such file"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "symbolic link"),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize(("make", "said"), ODD.values(), ids=ODD.keys())
def test_what_is_no_file_is_refused_at_once(
    make: Callable[[Path], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "file")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for read in (lambda p: open_regular(p, 1000), lambda p: read_bytes(p, 1000), read_json):
        with pytest.raises(OSError, match=said):
            read(tmp_path / "file")
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_file_whose_size_is_not_known_beforehand_is_bounded() -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    with pytest.raises(OSError, match="more than 10 bytes"):
        read_bytes("/proc/self/maps", 10)


def test_a_name_with_a_nul_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="NUL"):
        open_regular("a\0b")


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert read_text(tmp_path / "link", 4) == "text"


def test_a_foreign_value_is_short_in_a_message_whatever_it_is() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shortened(10**5000) == "a int"
    assert shortened(deep) == "a list"
    assert len(shortened("x" * 1000)) == 80
