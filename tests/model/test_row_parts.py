"""Rows in parts are those of one array, wherever it is cut."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cofi_dist.files import piece_sums
from cofi_dist.files.piece_sums import CheckedMap, PieceSums
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.tensor_header import read_header
from cofi_dist.model.row_parts import RowPart, RowParts


def cut(array: np.ndarray, cuts: list[int], directory: Path) -> RowParts:
    parts = []
    for start, stop in zip([0, *cuts], [*cuts, len(array)], strict=True):
        sums, file = PieceSums(), directory / f"{start}-{stop}"
        write_tensors(file, {"W": np.ascontiguousarray(array[start:stop])}, sums=sums)
        at, mapped = read_header(file)[0]["W"].start, CheckedMap(file, sums.hexdigest())
        flat = np.frombuffer(mapped.content, array.dtype, offset=at)
        parts.append(RowPart(start, flat.reshape(-1, *array.shape[1:]), mapped, at))
    return RowParts(parts)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_rows_are_those_of_the_whole(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    rows, dtype = data.draw(st.integers(1, 30)), data.draw(st.sampled_from([np.float32, np.float64]))
    shape = data.draw(st.sampled_from([(rows,), (rows, 3)]))
    whole = np.random.default_rng(0).normal(size=shape).astype(dtype)
    cuts = sorted(data.draw(st.sets(st.integers(1, rows - 1), max_size=5))) if rows > 1 else []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(piece_sums, "PIECE", 64)
        parts = cut(whole, cuts, tmp_path_factory.mktemp("rows"))
        assert (len(parts), parts.shape, parts.dtype) == (rows, whole.shape, whole.dtype)
        asked = np.array(data.draw(st.lists(st.integers(-rows, rows - 1), max_size=9)), np.int64)
        assert np.array_equal(parts[asked], whole[asked])
        some = data.draw(st.slices(rows))
        assert np.array_equal(parts[some], whole[some])
        row = data.draw(st.integers(-rows, rows - 1))
        assert np.array_equal(parts[row], whole[row])
        for wrong in (rows, -rows - 1):
            with pytest.raises(IndexError):
                parts[wrong]
        assert np.array_equal(np.asarray(parts), whole)
        assert np.array_equal(np.array(parts, np.float64), whole.astype(np.float64))
        again = pickle.loads(pickle.dumps(parts))
        assert type(again) is np.ndarray
        assert np.array_equal(again, whole)


def test_rows_that_follow_one_another_are_not_copied(tmp_path: Path) -> None:
    parts = cut(np.arange(12.0).reshape(6, 2), [3], tmp_path)
    within = parts[3:5]
    assert np.shares_memory(within, parts[4:6])
    with pytest.raises(ValueError, match="read-only"):
        within[0, 0] = 1
    with pytest.raises(ValueError, match="without being copied"):
        parts.__array__(copy=False)  # as numpy 2 calls it
