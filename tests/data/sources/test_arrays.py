"""The notebook's arrays as ratings; what is no such array is named."""

import os
from pathlib import Path

import numpy as np
import pytest

from cofi_dist.data.ratings import EQUAL_RATINGS, Ratings
from cofi_dist.data.sources import arrays
from cofi_dist.data.sources.arrays import ArrayRatings
from cofi_dist.errors import DataError
from cofi_dist.sharding.ranges import UserRange


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


def test_more_rows_than_can_be_numbered_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    big = np.lib.format.open_memmap(
        tmp_path / "Y.npy", "w+", np.int8, (2**31, 1)
    )  # a sparse file: no disk is used
    del big
    with pytest.raises(
        DataError, match=r"Y\.npy: has shape \(2147483648, 1\); at most 2,147,483,647 items or"
    ):
        ArrayRatings(tmp_path / "Y.npy", tmp_path / "Y.npy")


@pytest.mark.parametrize("cells_at_once", [1, 2**22])
def test_equal_arrays_are_said_to_teach_nothing(
    cells_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "CELLS_AT_ONCE", cells_at_once)
    R = np.array([[False, False], [True, False], [True, True]])
    Y = np.where(R, 2.5, 9.0)
    says = [f"every rating is 2.5: {EQUAL_RATINGS}"]
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


@pytest.mark.parametrize("cells_at_once", [1, 2**22])
def test_strengths_of_events_are_above_0(
    cells_at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "CELLS_AT_ONCE", cells_at_once)
    R = np.array([[1, 0], [1, 1]], np.uint8)
    Y = np.array([[2.0, -5.0], [2.0, 2.0]])
    source = ArrayRatings(*save(tmp_path, Y, R), "implicit")
    source.check_values()
    assert source.notes == []
    for value, says in (
        (0.0, r"\[1, 0\]: the strength 0.0 is not above 0; leave out what is no event, .*, by a 0 in R"),
        (-1.0, r"\[1, 0\]: the strength -1.0 is not above 0; leave out"),
        (1e16, r"\[1, 0\]: the strength 1e\+16 is not between 1e-15 and 1e\+15; multiply"),
        (np.nan, r"\[1, 0\] is nan, but R says it is known"),
    ):
        Y[1, 0] = value
        with pytest.raises(DataError, match=rf"Y\.npy: {says}"):
            ArrayRatings(*save(tmp_path, Y, R), "implicit").check_values()
    Y[1, 0] = -1.0
    ArrayRatings(*save(tmp_path, Y, R)).check_values()
