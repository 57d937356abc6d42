"""Files that aren't laid out as their suffix says: read where nothing is guessed, else told what to do."""

import gzip
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cofi_dist.config import ColumnNames, SplitSection
from cofi_dist.data.ratings import EQUAL_RATINGS
from cofi_dist.data.readers import lines as line_runs
from cofi_dist.data.readers.pairs import first_lines_of_pair
from cofi_dist.data.readers.ratings_files import read_whole_table
from cofi_dist.data.readers.tables import has_column, stream_tables
from cofi_dist.errors import DataError
from tests.support.prepared import prepared, read_ratings

SEMICOLONS = "fields are separated by semicolons; a comma in a number is its decimal point"
WANT = [("1", "10", 4.5), ("2", "10", 3.0)]


def triples(file: Path, **keys: Any) -> list[tuple[str, str, float]]:
    ratings, users, items = read_ratings(file, **keys)
    return [
        (str(users.raw[int(u)]), str(items.raw[int(i)]), float(v))
        for u, i, v in zip(ratings.user, ratings.item, ratings.value, strict=True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "userId;movieId;rating\n1;10;4,5\n2;10;3\n",
        "sep=;\nuserId;movieId;rating\n1;10;4.5\n2;10;3,0\n",
        '\ufeff"sep=;"\r\nuserId;movieId;rating\r\n1;10;4,5\r\n2;10;3\r\n',
        '"userId";"movieId";"rating";"a, b"\n"1";"10";"4,5";""\n"2";"10";"3";"x;y"\n',
        '"userId";"movieId";"rating";title,year\n"1";"10";"4,5";\n"2";"10";"3";x\n',
        "SEP=;\nuserId;movieId;rating\n1;10;4.5\n2;10;3,0\n",
        "sep=,\nuserId,movieId,rating\n1,10,4.5\n2,10,3\n",
        "sep=\t\nuserId\tmovieId\trating\n1\t10\t4.5\n2\t10\t3\n",
    ],
    ids=[
        "semicolons",
        "Excel's",
        "Excel's with marks",
        "quoted",
        "a comma in a name",
        "capitals",
        "says commas",
        "says tabs",
    ],
)
def test_the_separator_is_what_the_first_line_says(text: str, tmp_path: Path) -> None:
    for name in ("r.csv", "R.CSV", "r.csv.gz", "R.CSV.GZ"):
        file = tmp_path / name
        content = text.encode()
        file.write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)
        assert triples(file) == WANT
        with prepared(file) as stored:
            assert (SEMICOLONS in stored.notes) == (";" in text)
        notes: list[str] = []
        assert len(read_whole_table(file, ColumnNames(), notes)) == 2
        assert notes == ([SEMICOLONS] if ";" in text else [])
        assert has_column(file, "movieId")
        assert not has_column(file, "who")
        assert first_lines_of_pair(file, ColumnNames(), "2", "10") == [4 if "sep=" in text.lower() else 3]


def test_semicolons_in_pieces_and_with_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 40)
    text = "userId;movieId;rating;timestamp\n" + "".join(f"{k};7;{k % 5},5;{k},25\n" for k in range(50))
    (tmp_path / "r.csv").write_text(text)
    assert sorted(triples(tmp_path / "r.csv")) == sorted((str(k), "7", k % 5 + 0.5) for k in range(50))
    assert [
        t for table in stream_tables(tmp_path / "r.csv", ColumnNames(), time=True) for t in table["time"]
    ] == [k + 0.25 for k in range(50)]
    for wrong, says in (
        ("1;8;1.234,5;1", "line 52: the rating '1.234,5' is not a finite number"),
        ("1;8;1,2,3;1", "line 52: the rating '1,2,3' is not a finite number"),
        ("1;8;3\n", "line 52: 3 fields where the first line has 4; each line needs as many"),
        ("1;8;3", "line 52: 3 fields where the first line has 4; was the file cut off?"),
        ("1;7;3;1", "line 52: user 1 rated item 7 on line 3 already"),
    ):
        (tmp_path / "r.csv").write_text(text + wrong)
        with pytest.raises(DataError, match=says.replace("?", r"\?")):
            read_ratings(tmp_path / "r.csv")


HEADER = "userId,movieId,rating,timestamp\n"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("r.csv", "userId\tmovieId\trating\n1\t2\t3\n", "by tabs, not by commas; name the file .tsv"),
        ("r.tsv", HEADER, "line 1: fields are separated by commas, not by tabs; name the file .csv"),
        ("r.tsv", "userId;movieId;rating\n", "by semicolons, not by tabs; name the file .csv"),
        ("r.csv", "userId|movieId|rating\n", "separated by '|', not by commas; write them with commas"),
        ("r.csv", "userId movieId rating\n", "separated by blanks, not by commas; write them with commas"),
        ("r.csv", "userId::movieId::rating\n", "separated by '::', not by commas; write them with commas"),
        ("r.csv", "sep=|\nuserId|movieId|rating\n", "line 1: fields are separated by '|'; take commas,"),
        ("r.csv", '"userId"\t"movieId"\n"1"\t"2"\n', "by tabs, not by commas; name the file .tsv"),
        ("r.csv", '"userId"|"movieId"\n"1"|"2"\n', "separated by '|', not by commas; write them with"),
        ("r.tsv", '"userId","movieId"\n"1","2"\n', "by commas, not by tabs; name the file .csv"),
        ("r.csv", "userId;movieId;rating;a, b\n", "put quotes around the name that holds a comma"),
        ("r.csv", "sep=;\nuserId,movieId,rating\n", "by commas, not by semicolons; take the line `sep=;`"),
        ("r.csv", HEADER + '1,2,"1,000",4\n', "'1,000' is not a finite number; write it without commas, or"),
        ("r.csv", "a;b;c\n1;2;3\n", "line 1: no column 'userId' in a, b, c; set data.columns"),
        ("r.csv", "userId,movieId\u00a0,rating\n", "no column 'movieId' in userId, 'movieId\\xa0', rating;"),
        ("r.csv", "1,10,4.0\n2,11,3.0\n", "put a header before the ratings, such as userId,movieId,rating"),
        ("r.csv", "userId,movieId\n1,2\n", "'rating' in userId, movieId; 3 columns are needed: user, item"),
        ("r.csv", HEADER + "1,2,3\n1,3,3,4\n", "where the first line has 4; each line needs as many"),
        ("r.csv", HEADER.encode() + b"1,\xe9,4.0,9\n", "line 2: is not UTF-8 text; save it as UTF-8"),
        ("u.data", "1 10 4.0\n2 11 3.0\n", "rating, with a tab between two fields, not blanks"),
        ("u.data", "1,10,4.0\n", "needs user, item, rating, with a tab between two fields, not commas"),
        ("u.data", "1\t10\n", "line 1: needs user, item, rating, with a tab between two fields"),
        ("r.dat", "1\t10\t4\n", "line 1: needs user::item::rating, with '::' between two fields, not tabs"),
        ("r.dat", "user::item::rating\n1::2::3\n", "a .dat file has no header, so leave the line out"),
        ("r.csv", HEADER + "1,2,3,4,\n", "5 fields where the first line has 4; does the line end with"),
        ("r.csv", HEADER + "1,a,b,3,4\n", "where the first line has 4; put quotes around a field that holds"),
        ("r.dat", "1::2::3\n1::2::3::4\n", "the first line has 3; does a field hold the separator?"),
        ("r.csv", HEADER + '1,2,"4,5",4\n', "'4,5' is not a finite number; write a point in place"),
        ("r.csv", HEADER.replace("\n", "\r") + "1,2,3,4\r", "line 1: lines end with a carriage return alone"),
        ("u.data", "1\t2\t3\r1\t3\t4\r", "line 1: lines end with a carriage return alone, as on old Macs"),
        ("r.dat", "1::2::3\n1::3::4\r1::4::5\n", "line 2: 5 fields where the first line has 3; a carriage"),
        ("r.csv", HEADER + "1,2,3,4\r1,3,3,4\n", "a carriage return stands alone in a field"),
    ],
)  # fmt: skip
def test_another_layout_is_told_with_what_to_do(
    name: str, text: str | bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as caught:
        read_ratings(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: line ")
    assert says in str(caught.value)
    assert "cut off" not in str(caught.value)


def test_the_advice_on_carriage_returns_works(tmp_path: Path) -> None:
    (tmp_path / "OLD").write_bytes(b"userId,movieId,rating\r1,10,4.5\r2,10,3\r")
    subprocess.run("tr '\\r' '\\n' < OLD > NEW.csv", shell=True, cwd=tmp_path, check=True)
    assert triples(tmp_path / "NEW.csv") == WANT


def test_a_long_file_of_carriage_returns_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 50)
    monkeypatch.setattr(line_runs, "LONGEST_LINE", 100)
    (tmp_path / "r.csv").write_bytes(b"userId,movieId,rating\r" + 99 * b"1,2,3\r")
    with pytest.raises(DataError, match="of more than 100 bytes; does each line end with a line feed"):
        read_ratings(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "r.csv",
            gzip.compress(b"userId,movieId,rating\n1,10,4\n", mtime=0),
            "is packed by gzip; add .gz to its name",
        ),
        ("r.csv", b"PK\x03\x04abc", "is a zip archive or a spreadsheet; unpack it, or save it as CSV"),
        ("r.csv", "userId,movieId\n".encode("utf-16"), "is text in UTF-16; save it as UTF-8"),
        ("r.csv.gz", b"userId,movieId,rating\n1,10,4\n", "cannot be read: Not a gzipped file"),
        ("r.zip", b"PK\x03\x04abc", "unknown kind of file"),
    ],
)
def test_packed_and_misnamed_files_are_told(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_ratings(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: {says}")


def test_parquet_under_another_name_is_told_and_upper_case_is_read(tmp_path: Path) -> None:
    table = pl.DataFrame({"userId": [1, 2], "movieId": [10, 10], "rating": [4.5, 3.0]})
    table.write_parquet(tmp_path / "r.csv")
    with pytest.raises(DataError, match=r"r\.csv: is a Parquet file; name it \.parquet"):
        read_ratings(tmp_path / "r.csv")
    table.write_parquet(tmp_path / "R.PARQUET")
    assert triples(tmp_path / "R.PARQUET") == WANT
    pl.concat([table, table]).write_parquet(tmp_path / "R.PARQUET")
    with pytest.raises(DataError, match="row 3: user 1 rated item 10 on row 1 already"):
        read_ratings(tmp_path / "R.PARQUET")


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    for name, says in (("/dev/null", "is a pipe or a device"), (str(tmp_path), "is a folder without files")):
        with pytest.raises(DataError, match=f"{name}: {says}"):
            read_whole_table(Path(name), ColumnNames(), [])
    with pytest.raises(DataError, match="cannot be read: embedded null"):
        read_whole_table(tmp_path / "a\x00b.csv", ColumnNames(), [])


SAME_TIMES = HEADER + "".join(f"{k % 6},{k},{k % 5},1\n" for k in range(30))


@pytest.mark.parametrize(
    ("keys", "text", "says"),
    [
        (
            {"test": SplitSection(by="time", fraction=0.2)},
            SAME_TIMES,
            "all 30 ratings have the same timestamp, 1:",
        ),
        (
            {"validation": SplitSection(by="last", n=1)},
            SAME_TIMES,
            "data.validation: all 30 ratings have the same",
        ),
        (
            {"test": SplitSection(by="time", fraction=0.2)},
            SAME_TIMES.replace("0,0,0,1", "0,0,0,0"),
            "too many ratings share the newest timestamp; hold out more, or use by: random",
        ),
        (
            {"test": SplitSection(by="last", n=2)},
            HEADER + "1,1,1,1\n2,1,2,2\n",
            "no user has more than 2 ratings",
        ),
        (
            {"test": SplitSection(by="leave_one_out")},
            HEADER + "1,1,1,1\n2,1,2,2\n",
            "no user has two ratings",
        ),
    ],
)
def test_a_split_that_can_hold_out_nothing_says_why(
    keys: dict[str, SplitSection], text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(DataError) as caught:
        read_ratings(tmp_path / "r.csv", **keys)
    assert says in str(caught.value)


def test_dates_in_text_are_refused_with_where_they_are_read(tmp_path: Path) -> None:
    for text in ("2005-09-06", "2005-09-06T01:30:00Z", "06.09.2005", "9/6/2005 1:30"):
        (tmp_path / "r.csv").write_text(f"{HEADER}1,2,3,{text}\n")
        assert len(read_ratings(tmp_path / "r.csv")[0]) == 1
        with pytest.raises(
            DataError, match="is not a finite number; give seconds since 1970, or a column of"
        ):
            read_ratings(tmp_path / "r.csv", test=SplitSection(by="last", n=1))


def test_equal_ratings_are_said_to_teach_nothing(tmp_path: Path) -> None:
    says = f"every training rating is 3.5: {EQUAL_RATINGS}"
    (tmp_path / "r.csv").write_text(HEADER + "1,1,3.5,1\n1,2,3.5,1\n2,1,3.5,1\n")
    with prepared(tmp_path / "r.csv") as stored:
        assert says in stored.notes
    (tmp_path / "r.csv").write_text(HEADER + "1,1,3.5,1\n1,2,3.5,1\n2,1,4,1\n")
    with prepared(tmp_path / "r.csv") as stored:
        assert says not in stored.notes


def test_who_has_no_config_is_not_told_to_set_a_key_of_one(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("a,b,c\n1,2,3\n")
    pl.DataFrame({"a": [1], "b": [2], "c": [3]}).write_parquet(tmp_path / "r.parquet")
    for name in ("r.csv", "r.parquet"):
        with pytest.raises(
            DataError, match="a, b, c; name it so there, as in the ratings that the model was"
        ):
            read_whole_table(tmp_path / name, ColumnNames(), [])
        with pytest.raises(DataError, match=r"a, b, c; set data\.columns"):
            read_ratings(tmp_path / name)


def test_names_of_columns_are_not_taken_for_those_of_a_file_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "r.dat").write_text("1::10::4\n2::10::3\n")
    says = "a .dat file has no header: data.columns names the columns of what is written, not of it"
    with prepared(tmp_path / "r.dat", columns=ColumnNames(user="who")) as stored:
        assert says in stored.notes
    with prepared(tmp_path / "r.dat") as stored:
        assert says not in stored.notes
