"""Text files, read in runs of whole lines of any size."""

import gzip
from pathlib import Path

import pytest

from cofi_dist.data.readers import lines as line_runs
from cofi_dist.errors import DataError
from tests.support.prepared import read_ratings


@pytest.mark.parametrize("cut", [0, 5, 60])
def test_a_broken_gz_is_named(cut: int, tmp_path: Path) -> None:
    content = gzip.compress(("userId,movieId,rating\n" + "".join(f"{k},1,3\n" for k in range(99))).encode())
    (tmp_path / "r.csv.gz").write_bytes(content[:cut] + b"junk")
    with pytest.raises(DataError, match=r"r\.csv\.gz: cannot be read: "):
        read_ratings(tmp_path / "r.csv.gz")


def test_a_file_without_line_ends_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 50)
    monkeypatch.setattr(line_runs, "LONGEST_LINE", 100)
    for text in ("x" * 1000, 'userId,movieId,rating\n1,2,"' + "3\n" * 500):
        (tmp_path / "r.csv").write_text(text)
        with pytest.raises(DataError, match="of more than 100 bytes; is this a text file"):
            read_ratings(tmp_path / "r.csv")


def test_a_fault_far_into_the_file_is_named_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 64)
    lines = ["userId,movieId,rating", *(f"{k},1,3" for k in range(99))]
    lines[70] = "70,1,x"
    (tmp_path / "r.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="line 71: the rating 'x' is not a finite number"):
        read_ratings(tmp_path / "r.csv")


def test_quoted_line_ends_may_fall_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "userId,movieId,rating\n" + "".join(f'"a\n""{k}",{k},3\n' for k in range(30))
    (tmp_path / "r.csv").write_text(text)
    want = read_ratings(tmp_path / "r.csv")[1].raw.to_list()
    assert sorted(want) == sorted(f'a\n"{k}' for k in range(30))
    for size in (1, 7, 30, 100):
        monkeypatch.setattr(line_runs, "CHUNK_BYTES", size)
        assert read_ratings(tmp_path / "r.csv")[1].raw.to_list() == want


def test_an_empty_field_elsewhere_is_no_fault_but_an_empty_line_of_commas_is(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("userId,movieId,rating,note\n1,5,1,\n2,5,4,x\n")
    assert len(read_ratings(tmp_path / "r.csv")[0]) == 2
    (tmp_path / "r.csv").write_text("userId,movieId,rating,note\n1,5,1,\n,,,\n")
    with pytest.raises(DataError, match="line 3: the user id is empty"):
        read_ratings(tmp_path / "r.csv")


def test_ids_that_turn_to_text_half_way_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_runs, "CHUNK_BYTES", 40)
    (tmp_path / "r.csv").write_text(
        "userId,movieId,rating\n" + "".join(f"{k},1,3\n" for k in range(9, 30)) + "007,1,3\n"
    )
    users = read_ratings(tmp_path / "r.csv")[1].raw.to_list()
    assert users == sorted(["007", *(str(k) for k in range(9, 30))])
