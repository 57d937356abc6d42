"""Files of ids: each id once, and every mistake named with its line."""

from pathlib import Path

import polars as pl
import pytest

from cofi_dist.config import ColumnNames
from cofi_dist.data.readers.id_files import read_exclusions, read_ids
from cofi_dist.errors import DataError

COLUMNS = ColumnNames(user="who", item="what")


def test_each_id_is_there_once_in_its_first_place(tmp_path: Path) -> None:
    file, notes = tmp_path / "u.csv", list[str]()
    file.write_text("name,who\nAnn,7\nBob,3\nAnn,7\nZoe,11\n")
    assert read_ids(file, COLUMNS, "user", notes).to_list() == [7, 3, 11]
    assert notes == ["1 of 4 users is a repeat"]
    pl.DataFrame({"what": ["b", "a"]}).write_parquet(tmp_path / "i.parquet")
    assert read_ids(tmp_path / "i.parquet", COLUMNS, "item", notes := list[str]()).to_list() == ["b", "a"]
    assert notes == []
    (tmp_path / "p.dat").write_text("1::10\n2::10\n")
    assert read_ids(tmp_path / "p.dat", COLUMNS, "item", notes := list[str]()).to_list() == [10]
    assert notes == ["1 of 2 items is a repeat"]


def test_a_file_with_users_holds_pairs_and_one_without_holds_items(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("what,who\n10,1\n10,2\n10,1\n10,1\n")
    table = read_exclusions(file, COLUMNS, notes := list[str]())
    assert table.to_dict(as_series=False) == {"user": [1, 2], "item": [10, 10]}
    assert notes == ["2 of 4 pairs are repeats"]
    file.write_text("what;name\n10;Film\n11;Film\n")
    table = read_exclusions(file, COLUMNS, notes := list[str]())
    assert table.to_dict(as_series=False) == {"item": [10, 11]}
    assert notes == ["fields are separated by semicolons; a comma in a number is its decimal point"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("what\n", "holds no items"),
        ("which\n1\n", "line 1: no column 'what' in which; name it so there, as in the data that the"),
        ("10\n11\n", "line 1: no column 'what' in 10; put a header before the ratings, such as what"),
        ("name,what\nFilm,10\nFilm,\n", "line 3: the item id is empty"),
        ("what\n10\n 11\n", "line 3: the item id ' 11' begins or ends with a blank"),
    ],
)
def test_a_file_without_ids_is_named(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text(text)
    for read in (lambda: read_ids(file, COLUMNS, "item", []), lambda: read_exclusions(file, COLUMNS, [])):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value).startswith(f"{file}: {says}")


def test_missing_ids_and_other_types_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pl.DataFrame({"what": [1, None]}).write_parquet(file)
    with pytest.raises(DataError, match=r"x\.parquet: row 2: there is no item id; leave the row out"):
        read_ids(file, COLUMNS, "item", [])
    pl.DataFrame({"what": [1.5]}).write_parquet(file)
    with pytest.raises(DataError, match=r"x\.parquet: column 'what' holds Float64, not integers or text"):
        read_ids(file, COLUMNS, "item", [])
    with pytest.raises(DataError, match=r"y\.csv: no such file"):
        read_ids(tmp_path / "y.csv", COLUMNS, "item", [])
