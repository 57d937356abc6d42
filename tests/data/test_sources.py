"""Arrays, store, ids and means."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cofi_dist.data.ids import IdMap
from cofi_dist.data.item_means import item_offsets, item_sums, mean_centred
from cofi_dist.data.preparation import id_encoder
from cofi_dist.data.preparation.id_encoder import Encoder
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.readers.text import integers_if_all
from cofi_dist.data.sources import arrays
from cofi_dist.data.sources.arrays import ArrayRatings
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.distributed import Comm, SoloComm
from cofi_dist.errors import ConfigError, DataError, RunError
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from tests.support.problems import random_ratings, shard_of


def save(tmp_path: Path, Y: object, R: object) -> tuple[Path, Path]:
    np.save(tmp_path / "Y.npy", Y)  # type: ignore[arg-type]
    np.save(tmp_path / "R.npy", R)  # type: ignore[arg-type]
    return tmp_path / "Y.npy", tmp_path / "R.npy"


@pytest.mark.parametrize("cells_at_once", [1, 2**22])
def test_arrays_give_their_known_cells(
    cells_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "CELLS_AT_ONCE", cells_at_once)
    Y = np.array([[0.5, 0.0, -1.0], [0.0, 2.0, 0.0]])
    R = np.array([[1, 1, 1], [0, 1, 0]])
    source = ArrayRatings(*save(tmp_path, Y, R))
    assert (source.num_items, source.num_users) == (2, 3)
    assert source.ratings_per_user().tolist() == [1, 2, 1]
    ratings = source.load(UserRange(1, 3))
    assert ratings.user.tolist() == [0, 0, 1]
    assert ratings.item.tolist() == [0, 1, 0]
    assert ratings.value.tolist() == [0.0, 2.0, -1.0]
    assert len(source.load(UserRange(3, 3))) == 0


@pytest.mark.parametrize(
    ("Y", "R", "says"),
    [
        (np.zeros((2, 2)), np.zeros((2, 3)), r"R\.npy: has shape \(2, 3\), but .*Y\.npy has \(2, 2\)"),
        (np.zeros(4), np.zeros(4), r"Y\.npy: must be a 2-D array of numbers"),
        (np.array([["a"]]), np.ones((1, 1)), r"Y\.npy: must be a 2-D array of numbers"),
        (np.zeros((0, 2)), np.zeros((0, 2)), r"Y\.npy: is empty: 0 items x 2 users"),
        (np.zeros((2, 2)), np.zeros((2, 2)), r"R\.npy: no rating is known"),
        (np.zeros((2, 2)), np.array([[0, 1], [2, 0]]), r"R\.npy: \[1, 0\] is 2; must be 1"),
        (np.array([[0, np.nan]]), np.array([[0, 1]]), r"Y\.npy: \[0, 1\] is nan, but R says it is known"),
    ],
)
def test_wrong_arrays_are_named(Y: object, R: object, says: str, tmp_path: Path) -> None:
    files = save(tmp_path, Y, R)
    with pytest.raises(DataError, match=says):
        load_all(files)


def load_all(files: tuple[Path, Path]) -> Ratings:
    source = ArrayRatings(*files)
    source.ratings_per_user()
    source.check_values()
    return source.load(UserRange(0, source.num_users))


@pytest.mark.parametrize("content", [b"", b"junk", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_what_is_no_array_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "Y.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"Y\.npy: is not a \.npy array"):
        ArrayRatings(tmp_path / "Y.npy", tmp_path / "Y.npy")


def test_more_rows_than_can_be_numbered_are_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = np.lib.format.open_memmap(
        tmp_path / "Y.npy", "w+", np.int8, (2**31, 1)
    )  # of holes: no disk is used
    del big
    with pytest.raises(
        DataError, match=r"Y\.npy: has shape \(2147483648, 1\); at most 2,147,483,647 items or"
    ):
        ArrayRatings(tmp_path / "Y.npy", tmp_path / "Y.npy")
    for key in ("num_users", "num_items"):
        sizes = {"num_users": 2, "num_items": 2, "num_ratings": 1, key: 2**31}
        with pytest.raises(ConfigError, match=rf"data\.synthetic\.{key}: 2147483648 is too many"):
            SyntheticRatings(**sizes, seed=0)
    monkeypatch.setattr(id_encoder, "MOST_ROWS", 3)
    encoder = Encoder()
    encoder.codes(pl.Series([5, 6, 7]))
    with pytest.raises(DataError, match="more than 3 different ids; this is beyond what we can number"):
        encoder.codes(pl.Series([5, 8]))


def test_an_encoder_counts_ids_and_knows_the_row_of_each_ones_first() -> None:
    encoder = Encoder()
    for table in ([7, 3, 7], [3, 9], [], ["x", "7", "x"]):
        encoder.codes(pl.Series(table, dtype=pl.String if "x" in table else pl.Int64))
    assert encoder.distinct.ids.to_list() == ["7", "3", "9", "x"]
    assert encoder.distinct.counts.tolist() == [3, 2, 1, 2]
    assert encoder.distinct.first_rows.tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("cells_at_once", [1, 2**22])
def test_equal_arrays_are_said_to_teach_nothing(
    cells_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "CELLS_AT_ONCE", cells_at_once)
    R = np.array([[False, False], [True, False], [True, True]])
    Y = np.where(R, 2.5, 9.0)
    says = ["every rating is 2.5: nothing can be learnt from equal ratings"]
    assert ArrayRatings(*save(tmp_path, Y, R)).notes == says
    Y[2, 1] = 3
    assert ArrayRatings(*save(tmp_path, Y, R)).notes == []


def test_a_pipe_in_the_place_of_an_array_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Y.npy")
    with pytest.raises(DataError, match=r"Y\.npy: cannot be read: it is a pipe"):
        ArrayRatings(tmp_path / "Y.npy", tmp_path / "Y.npy")


def test_pickled_arrays_are_not_executed(tmp_path: Path) -> None:
    np.save(tmp_path / "Y.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"Y\.npy"):
        ArrayRatings(tmp_path / "Y.npy", tmp_path / "Y.npy")


@pytest.mark.parametrize(
    ("raw", "unique", "rows"),
    [
        (["10", "9", "10"], [9, 10], [1, 0, 1]),
        (["010", "9"], ["010", "9"], [0, 1]),
        (["-3", "x"], ["-3", "x"], [0, 1]),
        ([5, 2, 5], [2, 5], [1, 0, 1]),
        (["99999999999999999999", "1"], ["1", "99999999999999999999"], [1, 0]),
    ],
)
def test_ids_are_numbers_only_if_all_are(raw: list[object], unique: list[object], rows: list[int]) -> None:
    encoder = Encoder()
    # one by one, as if each stood in a table of its own
    codes = [int(encoder.codes(integers_if_all(pl.Series([str(one)])))[0]) for one in raw]
    ids, rank = encoder.ranked()
    assert ids.to_list() == unique
    assert rank[codes].tolist() == rows


def test_an_id_map_is_saved_and_loaded(tmp_path: Path) -> None:
    ids = IdMap(pl.Series(["a", "b"]))
    ids.save(tmp_path / "ids.parquet")
    assert IdMap.load(tmp_path / "ids.parquet", 2).raw.to_list() == ["a", "b"]
    with pytest.raises(RunError, match="cannot be read: No such file"):
        IdMap.load(tmp_path / "none.parquet", 2)


def test_means_are_the_items_and_the_global_one_for_the_unseen() -> None:
    ratings = Ratings(np.array([0, 1, 1], np.int32), np.array([0, 0, 2], np.int32), np.array([1.0, 3.0, 5.0]))
    means = item_offsets(item_sums(ratings, 4, SoloComm()), "item_mean", None)
    assert means.tolist() == [2.0, 3.0, 5.0, 3.0]
    assert mean_centred(ratings, means).value.tolist() == [-1.0, 1.0, 0.0]


def test_other_centres_follow_their_formulas() -> None:
    ratings = Ratings(np.array([0, 1, 1], np.int32), np.array([0, 0, 2], np.int32), np.array([1.0, 3.0, 5.0]))
    sums = item_sums(ratings, 4, SoloComm())
    damped = [(4 + 2 * 3) / (2 + 2), 3.0, (5 + 2 * 3) / (1 + 2), 3.0]
    assert item_offsets(sums, "damped_item_mean", 2.0) == pytest.approx(damped)
    assert item_offsets(sums, "global_mean", None).tolist() == [3.0] * 4
    assert item_offsets(sums, "none", None).tolist() == [0.0] * 4


def test_means_are_the_same_on_any_number_of_ranks(tmp_path: Path) -> None:
    ratings = random_ratings(8, 6, 30)
    want = item_offsets(item_sums(ratings, 6, SoloComm()), "item_mean", None)
    for means in run_ranks(3, _means_of_my_users, ratings, tmp=tmp_path):
        assert means == pytest.approx(want, rel=1e-12)


def _means_of_my_users(comm: Comm, ratings: Ratings) -> object:
    users = (UserRange(0, 5), UserRange(5, 5), UserRange(5, 8))[comm.rank]
    return item_offsets(item_sums(shard_of(ratings, users, 6).ratings, 6, comm), "item_mean", None)
