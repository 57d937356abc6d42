"""Ids that can't be told apart, or stand for nothing: refused, or said once with the line."""

from pathlib import Path

import polars as pl
import pytest

from cofi_dist.config import ColumnNames
from cofi_dist.data.id_spelling import HIDDEN, bad_ids, id_fault
from cofi_dist.data.readers import lines as line_runs
from cofi_dist.data.readers.diagnose import diagnose
from cofi_dist.data.readers.layout import Layout
from cofi_dist.data.readers.ratings_files import read_whole_table
from cofi_dist.errors import DataError
from tests.support.prepared import prepared, read_ratings

HEADER = "userId,movieId,rating\n"


def notes_of(file: Path, text: str) -> list[str]:
    """What preparing a file of this text says of its ids; and every other reader says the same."""
    file.write_text(text, encoding="utf-8")
    with prepared(file) as stored:
        said = stored.notes[1:]
    notes: list[str] = []
    read_whole_table(file, ColumnNames(), notes)
    assert notes == said
    return said


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ("\u00a01", "'\\xa01' begins or ends with U+00A0 (no-break space), which can't be seen; remove it"),
        ("1\u200b", "'1\\u200b' begins or ends with U+200B (zero width space)"),
        ("1\ufeff", "'1\\ufeff' begins or ends with U+FEFF (a byte order mark)"),
        ("\u2003x", "'\\u2003x' begins or ends with U+2003 (em space)"),
        ("x\x00", "'x\\x00' begins or ends with U+0000 (a control character)"),
        ("x\u00ad", "'x\\xad' begins or ends with U+00AD (soft hyphen)"),
        (" x", "' x' begins or ends with a blank"),
    ],
)
def test_what_cannot_be_seen_at_the_ends_of_an_id_is_refused_by_its_line(
    user: str, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "r.csv"
    file.write_text(f"{HEADER}1,10,4\n{user},10,3\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_ratings(file)
    assert str(caught.value).startswith(f"{file}: line 3: the user id {says}")
    file = tmp_path / "r.parquet"
    pl.DataFrame({"userId": ["1", user], "movieId": [1, 1], "rating": [1, 1]}).write_parquet(file)
    with pytest.raises(DataError) as caught:
        read_ratings(file)
    assert str(caught.value).startswith(f"{file}: row 2: the user id {says}")


def test_two_files_that_were_joined_are_told_by_the_mark_between_them(tmp_path: Path) -> None:
    (tmp_path / "r.data").write_text("\ufeff1\t10\t4\n\ufeff1\t11\t4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 2: the user id .* U\+FEFF \(a byte order mark\)"):
        read_ratings(tmp_path / "r.data")


def test_many_lines_at_once_and_each_by_itself_agree_on_every_id() -> None:
    layout = Layout(",", 3, {"user": 0, "item": 1, "rating": 2})
    for hidden in HIDDEN:
        for raw in (f"a{hidden}", f"{hidden}a", f"a{hidden}b"):
            assert bool(bad_ids(pl.Series([raw]))[0]) == (id_fault("user", raw) is not None)
        if hidden not in "\r\n":
            assert diagnose(f"a{hidden},1,1\n".encode(), layout, 1)


def test_an_emoji_and_a_word_with_a_joiner_are_ids(tmp_path: Path) -> None:
    users = [
        "❤\ufe0f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "👩\u200d👩",
        "crème brûlée",
        "x y",
    ]
    text = HEADER + "".join(f"{user},1,{k}\n" for k, user in enumerate(users))
    assert notes_of(tmp_path / "r.csv", text) == []
    assert read_ratings(tmp_path / "r.csv")[1].raw.to_list() == sorted(users)


TURNED = "user ids are text, not numbers: {} on line {} is no plain whole number of 64 bits, like {} of {}"


def test_numbers_that_turn_to_text_are_said_with_the_line_that_turned_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.csv"
    assert notes_of(file, HEADER + "1,1,3\n2,1,4\n") == []
    assert notes_of(file, HEADER + "a,1,3\nb,1,4\n") == []
    assert notes_of(file, HEADER + "1.0,1,3\n2.0,1,4\n") == [TURNED.format("'1.0'", 2, 2, 2)]
    said = notes_of(file, HEADER + "1,1,3\n\n2,1,4\n9223372036854775808,1,4\nx,1,1\n")
    assert said == [TURNED.format("'9223372036854775808'", 5, 2, 4)]
    text = HEADER + "".join(f"{k},1,{k % 5}\n" for k in range(40)) + '"a\n7",1,3\nq,1,3\n'
    for size in (30, 2**23):
        monkeypatch.setattr(line_runs, "CHUNK_BYTES", size)
        assert TURNED.format("'a\\n7'", 43, 2, 42) in notes_of(file, text)


def test_one_number_written_in_several_ways_is_said(tmp_path: Path) -> None:
    turned, alike = notes_of(tmp_path / "r.csv", HEADER + "1,10,4\n1.0,11,3\n01,12,3\n2,12,1\n2,10,5\n")
    assert turned == TURNED.format("'1.0'", 3, 2, 4)
    assert alike.startswith("2 user ids are spelt like another")
    assert "first '1.0' (line 3), like '1' (line 2): taken for different users" in alike
    assert [*map(str, read_ratings(tmp_path / "r.csv")[1].raw)] == ["01", "1", "1.0", "2"]


@pytest.mark.parametrize(
    "pair",
    ["caf\u00e9 cafe\u0301", "x\uff11 x1", "a\u200db ab", "+7 7", "-007 -7", "-0 0", "1.50 1.5", "1\ufe0f 1"],
)
def test_ids_that_look_alike_are_said(pair: str, tmp_path: Path) -> None:
    one, other = pair.split(" ")
    alike = notes_of(tmp_path / "r.csv", f"{HEADER}{one},1,4\nz,1,3\n{other},1,3\n")[-1]
    assert f"first {other!a} (line 4), like {one!a} (line 2): taken for different users" in alike


def test_what_stands_for_no_id_is_counted(tmp_path: Path) -> None:
    lines = ["1,NULL,4", "2,NULL,4", "3,\\N,4", "4,7,2", "5,NaN,1", "6,None,1"]
    turned, nothing = notes_of(tmp_path / "r.csv", HEADER + "\n".join(lines))
    assert "item ids are text, not numbers: 'NULL' on line 2" in turned
    assert nothing == (
        "5 ratings have the item id 'NULL' or '\\\\N' or 'NaN' or another such, first on line 2:"
        " taken for an id; drop them if it stands for none"
    )


def test_long_numbers_that_a_spreadsheet_rounded_are_counted(tmp_path: Path) -> None:
    text = HEADER + "a1,1,4\n1.23457E+12,1,3\n1.23457E+12,2,3\n1e+15,2,3\n"
    (rounded,) = notes_of(tmp_path / "r.csv", text)
    assert rounded == (
        "3 ratings have the user id '1.23457E+12' or '1e+15', first on line 3: long numbers that a program"
        " has rounded, perhaps several to one"
    )


def test_what_cannot_be_seen_inside_an_id_is_counted(tmp_path: Path) -> None:
    said = notes_of(tmp_path / "r.csv", f"{HEADER}a b,1,4\na\u00a0b,1,3\na\u00a0b,2,3\n")
    assert (
        "2 ratings have a user id with characters inside that can't be seen, first 'a\\xa0b' on line 3"
        in said
    )
    assert any(note.startswith("1 user id is spelt like another") for note in said)


def test_rows_of_parquet_are_named_as_rows(tmp_path: Path) -> None:
    file = tmp_path / "r.parquet"
    pl.DataFrame({"userId": ["1", "2", "01"], "movieId": [1, 1, 1], "rating": [1, 2, 3]}).write_parquet(file)
    with prepared(file) as stored:
        assert "'01' (row 3), like '1' (row 1)" in stored.notes[2]
