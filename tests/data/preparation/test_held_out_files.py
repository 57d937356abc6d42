"""Held-out ratings from files of their own are the parts that a split of all ratings makes."""

import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofi_dist.config import DataSection
from cofi_dist.errors import DataError
from tests.support.prepared import parts_of, prepared
from tests.support.ratings_files import pairs_of, random_table, save

TABLE = random_table(seed=7).with_columns(weight=pl.int_range(1, 121) / 8)


def of_parts(table: pl.DataFrame, part: list[int], folder: Path, **keys: Any) -> Any:
    """Prepare the rows of part 0 with those of parts 1 and 2 as files of held-out ratings."""
    names = ("train.parquet", "test.csv.gz", "validation.csv")
    for k, name in enumerate(names):
        save(table.filter(pl.Series(part) == k), folder / name)
    held_out = {Path(name).stem.removesuffix(".csv"): {"file": str(folder / name)} for name in names[1:]}
    return prepared(folder / names[0], **held_out, **keys)


@settings(max_examples=5, deadline=None)
@given(
    part=st.lists(st.integers(0, 2), min_size=120, max_size=120).filter(lambda part: len(set(part)) == 3),
    keys=st.sampled_from(
        [{}, {"columns": {"weight": "weight"}}, {"feedback": "implicit"}, {"min_user_ratings": 5}]
    ),
)
def test_any_parts_are_kept(part: list[int], keys: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder, of_parts(TABLE, part, Path(folder), **keys) as stored:
        kept = TABLE.filter(pl.len().over("userId") >= keys.get("min_user_ratings", 1))
        marked = TABLE.with_columns(part=pl.Series(part)).join(kept, on=["userId", "movieId"], how="semi")
        want = {n: pairs_of(marked.filter(part=k)) for k, n in enumerate(("train", "test", "validation"))}
        assert parts_of(stored) == want
        assert set(stored.ids[0].raw) == set(kept["userId"]), "ids without training ratings have rows too"


@pytest.mark.parametrize("keys", [{}, {"columns": {"weight": "weight"}}, {"feedback": "implicit"}])
def test_the_files_of_a_split_give_its_bytes(keys: dict[str, Any], tmp_path: Path) -> None:
    splits = {"test": {"by": "random"}, "validation": {"by": "leave_one_out"}}
    one = save(TABLE, tmp_path / "one.parquet")
    with prepared(one, **splits, **keys) as stored:
        want, pairs = stored.fingerprint(), parts_of(stored)
    names = list(pairs)
    part = [
        next(names.index(n) for n in names if row in pairs[n])
        for row in TABLE.select("userId", "movieId").rows()
    ]
    order = [0, names.index("validation"), names.index("test")]
    with of_parts(TABLE, [[0, 2, 1][order.index(each)] for each in part], tmp_path, **keys) as stored:
        assert stored.fingerprint() == want
        test = sum(each == names.index("test") for each in part)
        assert f"read {test} {'events' if keys.get('feedback') else 'ratings'} for test from" in str(
            stored.notes
        )


def test_a_split_by_time_chooses_among_the_ratings_that_have_no_file(tmp_path: Path) -> None:
    save(TABLE[:60].drop("timestamp"), tmp_path / "test.parquet")
    rest = save(TABLE[60:], tmp_path / "r.parquet")
    with prepared(rest, validation={"by": "time"}) as stored:
        want = parts_of(stored)
    with prepared(rest, test={"file": str(tmp_path / "test.parquet")}, validation={"by": "time"}) as stored:
        assert parts_of(stored) == want | {"test": pairs_of(TABLE[:60])}


def test_pairs_of_several_parts_stay_in_each_and_are_told(tmp_path: Path) -> None:
    for name, start, stop in (("r", 0, 90), ("t", 80, 120), ("v", 85, 100)):
        save(TABLE[start:stop], tmp_path / f"{name}.csv")
    held_out = {"test": {"file": str(tmp_path / "t.csv")}, "validation": {"file": str(tmp_path / "v.csv")}}
    with prepared(tmp_path / "r.csv", **held_out) as stored:
        assert parts_of(stored) == {
            "train": pairs_of(TABLE[:90]),
            "test": pairs_of(TABLE[80:]),
            "validation": pairs_of(TABLE[85:100]),
        }
        both = "{} pairs of user and item have a rating in {} and another one in {}"
        for told in ((10, "train", "test"), (5, "train", "validation"), (15, "validation", "test")):
            assert both.format(*told) in stored.notes
    save(pl.concat([TABLE[80:], TABLE[85:86]]), tmp_path / "t.csv")
    with (
        pytest.raises(DataError, match=r"t\.csv: line 42: user .* rated item .* on line 7 already"),
        prepared(tmp_path / "r.csv", **held_out),
    ):
        pass


def test_a_file_of_two_parts_is_told(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    save(TABLE[:90], tmp_path / "all" / "r.csv")
    test = save(TABLE[90:], tmp_path / "all" / "t.csv")
    with (
        pytest.raises(DataError, match=r"all/t\.csv: is in data\.ratings and in data\.test\.file; leave it"),
        prepared(tmp_path / "all", test={"file": str(test)}),
    ):
        pass


def test_mistakes_are_told(tmp_path: Path) -> None:
    file = save(TABLE, tmp_path / "r.csv")
    (tmp_path / "bad.csv").write_text("userId,movieId,rating\n1,2,x\n")
    (tmp_path / "empty.csv").write_text("userId,movieId,rating\n")
    for name, says in (
        ("bad.csv", r"bad\.csv: line 2: the rating 'x' is not a finite number"),
        ("empty.csv", r"empty\.csv: holds no ratings"),
        ("none.csv", r"none\.csv: no such file"),
    ):
        with (
            pytest.raises(DataError, match=says),
            prepared(file, test={"file": str(tmp_path / name)}),
        ):
            pass
    for split, says in (
        ({"file": "t.csv", "by": "random"}, "a split by random has no file; leave file out"),
        ({"by": "file"}, "a split by file needs the name of one, in file"),
        ({"file": "t.csv", "fraction": 0.1}, "fraction means nothing to a split by file; leave it out"),
    ):
        with pytest.raises(ValueError, match=says):
            DataSection.model_validate({"ratings": "r.csv", "test": split})
    with pytest.raises(ValueError, match="test: a file goes with ratings of files or tables; use by: random"):
        DataSection.model_validate({"synthetic": {}, "test": {"file": "t.csv"}})
