"""Directories of parts: whole or not there, and never in the place of something else."""

from pathlib import Path

import pytest

from cofi_dist.cli.list_parts import require_writable_lists, write_parts
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CofiError, RunError


def test_a_directory_appears_with_its_part_and_is_replaced_as_a_whole(tmp_path: Path) -> None:
    lists = tmp_path / "new" / "lists"
    write_parts(SoloComm(), lists, lambda file: file.write_text("old"), replace=False)
    (lists / "part-00001-of-00002.parquet").write_text("of an earlier command on two ranks")
    write_parts(SoloComm(), lists, lambda file: file.write_text("new"), replace=True)
    assert {path.name: path.read_text() for path in lists.iterdir()} == {"part-00000-of-00001.parquet": "new"}
    assert [path.name for path in lists.parent.iterdir()] == ["lists"]


def test_what_fails_leaves_nothing_and_names_what_the_user_named(tmp_path: Path) -> None:
    def fail(file: Path) -> None:
        file.write_text("half")
        raise RunError(f"{file}: cannot be written: No space left on device")

    with pytest.raises(RunError) as caught:
        write_parts(SoloComm(), tmp_path / "lists", fail, replace=False)
    part = tmp_path / "lists" / "part-00000-of-00001.parquet"
    assert str(caught.value) == f"{part}: cannot be written: No space left on device"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "num_ranks", "replace", "says"),
    [
        ("a.parquet", 2, False, "--output a.parquet: 2 ranks write a part each; name a directory, such as a"),
        (
            "a.txt",
            1,
            False,
            "--output a.txt: write .csv or .parquet, or a directory, whose name has no ending",
        ),
        ("lists", 1, False, "lists: already exists; give another --output, or --replace"),
        (
            "docs",
            1,
            True,
            "docs: would be removed as a whole, but holds what is no part of lists, such as a.md",
        ),
        ("README", 1, True, "README: is a file; lists in parts make a directory"),
    ],
)
def test_what_is_in_the_way_is_named(
    name: str, num_ranks: int, replace: bool, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, file in (("lists", "part-00000-of-00001.parquet"), ("docs", "a.md")):
        Path(folder).mkdir()
        Path(folder, file).touch()
    Path("README").touch()
    with pytest.raises(CofiError) as caught:
        require_writable_lists(Path(name), num_ranks, replace=replace)
    assert str(caught.value).startswith(says)
    require_writable_lists(Path("lists"), 2, replace=True)
    require_writable_lists(Path("new"), 2, replace=False)
