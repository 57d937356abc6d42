"""Files beside a model: titles in any encoding and of any line ends; events that need no strengths."""

import gzip
import os
from pathlib import Path

import polars as pl
import pytest

from cofi_dist.cli import input_files
from cofi_dist.cli.input_files import read_ratings, read_titles, warn_if_untitled
from cofi_dist.config import ColumnNames
from cofi_dist.errors import DataError

STRENGTH_1 = "each line is an event of strength 1"
WANT = {"14": "Les Misérables… (1995)", "20": "Plain"}


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("movies.dat", ["14::Les Misérables… (1995)::Drama", "20::Plain::Drama"]),
        ("u.item", ["14|Les Misérables… (1995)|x", "", "20|Plain|x"]),
        ("movies.csv", ["movieId,title,genres", "14,Les Misérables… (1995),x", '20,"Plain",y']),
        ("movies.CSV", ["title;movieId", "Les Misérables… (1995);14", '"Plain";20']),
        ("movies.tsv", ["movieId\ttitle", "14\tLes Misérables… (1995)", "20\tPlain"]),
    ],
)
def test_titles_are_read(name: str, lines: list[str], encoding: str, end: str, tmp_path: Path) -> None:
    content = end.join([*lines, ""]).encode(encoding)
    (tmp_path / name).write_bytes(content)
    assert read_titles(tmp_path / name, "movieId") == WANT
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    assert read_titles(tmp_path / f"{name}.gz", "movieId") == WANT


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r"])
def test_a_title_ends_at_a_line_feed_alone(odd: str, tmp_path: Path) -> None:
    for name, text in (
        ("m.dat", f"14::Line{odd}Sep (1999)::Drama\n20::Plain::Drama\n"),
        ("u.item", f"14|Line{odd}Sep (1999)|x\n20|Plain|x\n"),
        ("m.csv", f'movieId,title\n14,"Line{odd}Sep (1999)"\n20,Plain\n'),
    ):
        (tmp_path / name).write_bytes(text.encode())
        titles = read_titles(tmp_path / name, "movieId")
        assert titles == {"14": "Line Sep (1999)", "20": "Plain"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "m.csv",
            b"movieId,name\n1,x\n",
            "no column 'title' in movieId, name; a file of titles has the columns movieId and title",
        ),
        ("m.csv", b"", "no column 'movieId' in an empty file"),
        ("m.csv", b'movieId,title\n1,x\n2,"y', "line 3: unexpected end of data"),
        ("m.dat", b"1\tx\n", "line 1: needs id::title"),
        ("m.csv", b"PK\x03\x04\x00", "is a zip archive or a spreadsheet"),
        ("m.csv.gz", b"movieId,title\n", "cannot be read: Not a gzipped file"),
        ("m.parquet", b"PAR1\x15", "titles come from .csv, .tsv, .dat or .item (or .gz or .zst of them)"),
    ],
)
def test_a_file_without_titles_is_named(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_titles(tmp_path / name, "movieId")
    assert str(caught.value).startswith(f"{tmp_path / name}: {says}")


def test_a_pipe_and_what_unfolds_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(DataError, match="cannot be read: it is a pipe"):
        read_titles(tmp_path / "m.csv", "movieId")
    monkeypatch.setattr(input_files, "MOST_TITLES", 10_000)
    (tmp_path / "m.dat.gz").write_bytes(gzip.compress(b"1::x\n" * 10_000))
    with pytest.raises(DataError, match="holds more than 10,000 bytes: these are not titles"):
        read_titles(tmp_path / "m.dat.gz", "movieId")


def test_titles_of_other_ids_are_said_to_be_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_untitled(Path("m.csv"), {"1": "One"}, pl.Series(["1.0", "2.0"]))
    assert capsys.readouterr().err.startswith("m.csv: has no title of any of these items; are its ids spelt")
    warn_if_untitled(Path("m.csv"), {"1": "One"}, pl.Series([1, 2]))
    warn_if_untitled(None, {}, pl.Series([1]))
    assert capsys.readouterr().err == ""


def test_events_need_no_strengths_and_ratings_are_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "e.csv"
    file.write_text("userId,movieId\n1,104\n2,105\n")
    table = read_ratings(file, ColumnNames(), "implicit")
    assert table.to_dict(as_series=False) == {"user": [1, 2], "item": [104, 105], "value": [1.0, 1.0]}
    assert capsys.readouterr().err == f"{file}: there is no column 'rating': {STRENGTH_1}\n"
    with pytest.raises(DataError, match=r"e\.csv: line 1: no column 'rating' in userId, movieId"):
        read_ratings(file, ColumnNames(), "explicit")
    file.write_text("userId,movieId,rating\n1,104,2.5\n2,105,1\n")
    assert read_ratings(file, ColumnNames(), "implicit")["value"].to_list() == [2.5, 1.0]
    assert capsys.readouterr().err == ""
    (tmp_path / "e.dat").write_text("1::104\n2::105\n")
    table = read_ratings(tmp_path / "e.dat", ColumnNames(), "implicit")
    assert table["value"].to_list() == [1.0, 1.0]
    said = f"{tmp_path / 'e.dat'}: there is no third field: {STRENGTH_1}\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("name", ["rating", "hours"])
def test_another_column_that_may_hold_the_strengths_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "e.csv"
    file.write_text("userId,movieId,plays\n1,104,7\n")
    assert read_ratings(file, ColumnNames(rating=name), "implicit")["value"].to_list() == [1.0]
    hint = f"if one of plays holds strengths, name it '{name}' there"
    assert capsys.readouterr().err == f"{file}: there is no column '{name}': {STRENGTH_1}; {hint}\n"
    read_ratings(file, ColumnNames(rating=name), "implicit", aloud=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("1,104,1\n1,105,x\n", "line 3: the strength 'x' is not a finite number; leave out what is no event"),
        ("1,104,-3\n", "line 2: the strength '-3' is not above 0; leave out what is no event"),
        ("1,104,1e50\n", "line 2: the strength '1e50' is not between 1e-15 and 1e+15; multiply the whole"),
        ("", "holds no events"),
    ],
)
def test_events_are_refused_as_by_training(rows: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_text(f"userId,movieId,rating\n{rows}")
    with pytest.raises(DataError) as caught:
        read_ratings(file, ColumnNames(), "implicit")
    assert str(caught.value).startswith(f"{file}: {says}")
