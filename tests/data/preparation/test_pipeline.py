"""Prepared ratings: the same from any file, whatever the size of the pieces; nothing lost in silence."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofi_dist.config import ColumnNames, SplitSection
from cofi_dist.data.preparation import spool, writers
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.readers import lines as line_runs
from cofi_dist.data.readers import parquet
from cofi_dist.errors import CofiError, DataError
from cofi_dist.files.written_file import WrittenFile
from cofi_dist.sharding.ranges import UserRange
from tests.support.prepared import prepared, read_ratings
from tests.support.ratings_files import random_table, save


def test_every_format_and_any_order_prepare_the_same(tmp_path: Path) -> None:
    table, prints = random_table(), set()
    split = SplitSection(by="last", n=2)
    for name in ("r.csv", "r.tsv", "r.dat", "r.data", "r.csv.gz", "r.dat.gz", "r.parquet"):
        for shuffled in (table, table.sample(fraction=1.0, shuffle=True, seed=5)):
            with prepared(save(shuffled, tmp_path / name), test=split) as stored:
                prints.add(stored.manifest["fingerprint"])
                assert stored.notes[0] == "read 120 ratings of 20 users on 15 items"
    assert len(prints) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.data())
def test_pieces_of_any_size_prepare_the_same(tmp_path: Path, data: st.DataObject) -> None:
    table = random_table(seed=data.draw(st.integers(0, 20)))
    if data.draw(st.booleans()):
        table = table.with_columns(pl.format("u{}", "userId").alias("userId"))
    name = data.draw(st.sampled_from(["r.csv", "r.dat", "r.parquet"]))
    file = save(table, tmp_path / name)
    keys = {"test": SplitSection(by="random", fraction=0.3), "validation": SplitSection(by="leave_one_out")}
    with prepared(file, **keys) as stored:
        want = stored.manifest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_runs, "CHUNK_BYTES", data.draw(st.integers(100, 3000)))
        patch.setattr(spool, "SPOOL_ROWS", data.draw(st.integers(10, 60)))
        patch.setattr(spool, "PIECE_ROWS", data.draw(st.integers(7, 60)))
        patch.setattr(writers, "PIECE_RATINGS", data.draw(st.integers(5, 60)))
        patch.setattr(parquet, "TABLE_ROWS", data.draw(st.integers(10, 200)))
        with prepared(file, **keys) as stored:
            assert stored.manifest == want
            check_transposed(stored)


def check_transposed(stored: StoredRatings) -> None:
    """The second order holds the same ratings as the first."""
    train = stored.load(UserRange(0, stored.num_users))
    folder = stored.directory
    start = np.load(folder / "train_item_start.npy")
    order = np.lexsort((train.user, train.item))
    assert np.array_equal(np.diff(start), np.bincount(train.item, minlength=stored.num_items))
    assert np.array_equal(np.load(folder / "train_user_by_item.npy"), train.user[order])
    assert np.array_equal(np.load(folder / "train_value_by_item.npy"), train.value[order])
    assert np.array_equal(stored.item_sums.count, np.diff(start))
    want = np.bincount(train.item, train.value, minlength=stored.num_items)
    np.testing.assert_allclose(stored.item_sums.total, want, rtol=1e-15)


def test_values_are_kept_exactly(tmp_path: Path) -> None:
    table = random_table()
    assert read_kind(save(table, tmp_path / "half.csv")) == np.float32
    tenths = table.with_columns(rating=pl.col("rating") / 10)
    assert read_kind(save(tenths, tmp_path / "tenths.csv")) == np.float64


def read_kind(file: Path) -> np.dtype[np.floating]:
    with prepared(file) as stored:
        kind: np.dtype[np.floating] = np.load(stored.directory / "train_value.npy").dtype
        return kind


DOUBLED = "userId,movieId,rating,timestamp\n1,5,1.0,9\n2,5,4.0,9\n1,5,2.0,7\n1,6,3.0,1\n1,5,4.5,8\n"


def test_duplicates_are_refused_or_resolved_as_asked(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(DOUBLED)
    says = r"r\.csv: line 4: user 1 rated item 5 on line 2 already; keep one of them, or set data\.duplicates"
    with pytest.raises(DataError, match=says):
        read_ratings(tmp_path / "r.csv")
    for how, value in (("last", 4.5), ("mean", 2.5)):
        with prepared(tmp_path / "r.csv", duplicates=how) as stored:
            assert stored.load(UserRange(0, 2)).value.tolist() == [value, 3.0, 4.0]
            assert "2 ratings dropped" in stored.notes[1]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"min_user_ratings": 1000},
            "min_user_ratings 1000, min_item_ratings 1: nothing is left; lower them",
        ),
        ({"test": {"by": "leave_one_out"}, "min_user_ratings": 1}, r"data\.test: holds out nothing"),
        ({"test": {"by": "time"}}, "line 1: no column 'timestamp'"),
        ({"test": {"fraction": 0.999999999}}, "nothing is left for training; hold out less"),
    ],
)
def test_what_leaves_nothing_is_refused(keys: dict[str, object], says: str, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("userId,movieId,rating\n1,5,1\n2,5,4\n")
    with pytest.raises(CofiError, match=says):
        read_ratings(tmp_path / "r.csv", **keys)
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_the_manifest_says_what_was_done(tmp_path: Path) -> None:
    file = save(random_table(), tmp_path / "r.csv")
    keys = {"centre": "damped_item_mean", "damping": 3.0, "validation": SplitSection(seed=4)}
    with prepared(file, **keys) as stored:
        manifest = json.loads((stored.directory / "manifest.json").read_text())
        assert manifest["columns"] == ColumnNames().model_dump()
        assert manifest["splits"] == {"validation": {"by": "random", "fraction": 0.2, "seed": 4}}
        assert stored.centre == ("damped_item_mean", 3.0)
        assert sum(manifest["num_ratings"].values()) == 120
        assert stored.scale == (0.5, 5.0)
        assert stored.parts == ("train", "validation")


def test_values_that_turn_to_float64_half_way_are_kept_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SPOOL_ROWS", 20)
    table = random_table().sort("userId")
    late = pl.when(pl.col("userId") == pl.col("userId").max()).then(pl.col("rating") / 10).otherwise("rating")
    file = save(table.with_columns(rating=late), tmp_path / "r.csv")
    with prepared(file, test=SplitSection(by="random", fraction=0.3)) as stored:
        users = UserRange(0, stored.num_users)
        values = np.concatenate([stored.load(users, part).value for part in ("train", "test")])
        assert values.dtype == np.float64
        assert sorted(values.tolist()) == sorted(pl.read_csv(file)["rating"].to_list())
        assert all(
            np.load(stored.directory / f"{part}_value.npy").dtype == np.float64 for part in stored.parts
        )


@given(st.lists(st.integers(0, 2**31 - 1), max_size=30), st.sampled_from([1, 2**7, 2**15, 2**31 - 1, 2**62]))
def test_every_way_to_sort_keeps_the_order_of_equal_keys(numbers: list[int], most: int) -> None:
    keys = np.array([number * (most // 2**31 + 1) % most for number in numbers], np.int64)
    assert np.array_equal(spool.stable_order(keys), np.argsort(keys, kind="stable"))


def test_an_interrupt_is_raised_as_such_and_leaves_no_thread_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: WrittenFile, content: Any) -> int:
        count = write(self, content)
        if "train_item.npy" in str(self._file.name) and self.tell() > 500:
            self._file.write(b"half of what")
            raise KeyboardInterrupt
        return count

    write = WrittenFile.write
    file = save(random_table(), tmp_path / "r.csv")
    monkeypatch.setattr(spool, "SPOOL_ROWS", 10)
    monkeypatch.setattr(WrittenFile, "write", interrupted)
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt) as caught, prepared(file):
        pass
    assert threading.active_count() <= threads, f"{caught} holds none of ours"
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
