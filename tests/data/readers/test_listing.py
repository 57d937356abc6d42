"""Which files a name stands for: folders, patterns, lists, and names that only look like patterns."""

import os
from pathlib import Path

import pytest

from cofi_dist.data.readers.listing import Given, find_files, folders_and_files
from cofi_dist.errors import DataError


def touched(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def test_a_folder_is_read_in_the_order_of_its_paths_without_what_spark_leaves_beside(tmp_path: Path) -> None:
    want = touched(tmp_path, "a/p.parquet", "b.parquet", "year=2020/p.parquet", "year=2021/p.parquet")
    touched(
        tmp_path, "_SUCCESS", "._SUCCESS.crc", "_metadata", ".b.parquet.crc", "b.crc", "_temporary/0/x.csv"
    )
    assert find_files(tmp_path) == tuple(want)
    assert find_files(f"{tmp_path}/") == tuple(want)
    assert find_files(str(tmp_path / "year=*")) == tuple(want[2:])
    assert find_files(str(tmp_path / "**")) == tuple(want)
    assert find_files(str(tmp_path / "*" / "?.parquet")) == (want[0], *want[2:])
    assert find_files([want[3], tmp_path / "a", str(want[1])]) == (want[3], want[0], want[1])


def test_what_exists_is_a_name_and_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (name, decoy, inner) = touched(tmp_path, "r[1].csv", "r1.csv", "e[1]*/p1.csv")
    touched(tmp_path, "e1/p1.csv", "e1x/p1.csv")
    assert find_files(name) == (name,)
    assert find_files(str(tmp_path / "r[1-9].csv")) == (decoy,)
    assert find_files(tmp_path / "e[1]*") == (inner,)
    assert find_files(str(tmp_path / "e[1]*" / "*.csv")) == (inner,), (
        "the folder is a name, its files are not"
    )
    monkeypatch.chdir(tmp_path)
    assert find_files("r[1].csv") == (Path("r[1].csv"),)
    assert find_files("?1/*.csv") == (Path("e1/p1.csv"),)


@pytest.mark.parametrize(
    ("files", "given", "says"),
    [
        (["_SUCCESS"], "", ": is a folder without files; what begins with . or _ is left out"),
        ([], "r*.csv", "r*.csv: there is no such file, and none that matches it as a pattern"),
        (["a.csv", "b.parquet"], "", "b.parquet: is of another kind than {}a.csv; give files of one kind"),
        (
            ["a.csv", "b.tsv", "c.csv"],
            "*",
            "b.tsv: is of another kind than {}a.csv; give files of one kind",
        ),
        (
            ["README", "a/b.csv.gz"],
            "",
            "README: is of another kind than {0}a/b.csv.gz; give files of one kind, as a pattern does:"
            " {0}**/*.csv*",
        ),
        (
            ["a.parquet", "_delta_log/0.json"],
            "",
            ": is a Delta table, whose log says which of its files count",
        ),
    ],
)
def test_what_cannot_be_read_together_is_told(
    files: list[str], given: str, says: str, tmp_path: Path
) -> None:
    touched(tmp_path, *files)
    with pytest.raises(DataError) as caught:
        find_files(f"{tmp_path}/{given}" if given else str(tmp_path))
    assert says.format(f"{tmp_path}/") in str(caught.value)


def test_a_file_given_twice_is_told(tmp_path: Path) -> None:
    (file,) = touched(tmp_path, "a.csv")
    os.symlink(file, tmp_path / "link.csv")
    twice: list[Given] = [[file, file], tmp_path, [str(tmp_path / "*.csv"), file]]
    for given in twice:
        with pytest.raises(DataError, match=r"a\.csv: is named twice; name it once"):
            find_files(given)


def test_a_link_to_a_folder_that_it_is_in_is_told(tmp_path: Path) -> None:
    touched(tmp_path, "a/b/c.csv", "d/e.csv")
    os.symlink("../d", tmp_path / "a" / "other")
    assert find_files(tmp_path / "a") == (tmp_path / "a" / "b" / "c.csv", tmp_path / "a" / "other" / "e.csv")
    os.symlink("../..", tmp_path / "a" / "b" / "up")
    with pytest.raises(DataError, match=r"a/b/up: is a link to a folder that it is in; remove it"):
        find_files(tmp_path / "a")


def test_a_folder_that_cannot_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(tmp_path, "a/b.csv", "secret/c.csv")
    readable = os.access  # root reads all folders
    monkeypatch.setattr(os, "access", lambda path, mode: readable(path, mode) and path.name != "secret")
    for pattern in ("**/*.csv", "*/*.csv", "secret/*.csv", "secret/**"):
        with pytest.raises(DataError, match="secret: cannot be read: Permission denied"):
            find_files(str(tmp_path / pattern))
    assert find_files(str(tmp_path / "a*" / "*.csv")) == (tmp_path / "a" / "b.csv",)


def test_packed_and_plain_files_of_one_kind_go_together(tmp_path: Path) -> None:
    files = touched(tmp_path, "a.csv", "b.csv.gz", "c.CSV.zst")
    assert find_files(tmp_path) == tuple(files)


def test_what_a_run_may_not_overwrite(tmp_path: Path) -> None:
    touched(tmp_path, "a/b.csv")
    given = ["s3://bucket/x", str(tmp_path / "a" / "*.csv"), str(tmp_path / "a"), "none.csv"]
    assert folders_and_files(given) == [tmp_path / "a", tmp_path / "a", Path("none.csv")]
