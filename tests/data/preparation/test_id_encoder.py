"""Ids, numbered as they appear."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.data.id_spelling import DistinctIds
from cofi_dist.data.preparation import id_encoder
from cofi_dist.data.preparation.id_encoder import Encoder
from cofi_dist.data.readers.text import integers_if_all
from cofi_dist.errors import DataError


def test_an_encoder_counts_ids_and_knows_the_row_of_each_ones_first() -> None:
    encoder = Encoder()
    for table in ([7, 3, 7], [3, 9], [], ["x", "7", "x"]):
        encoder.codes(pl.Series(table, dtype=pl.String if "x" in table else pl.Int64))
    assert encoder.distinct.ids.to_list() == ["7", "3", "9", "x"]
    assert encoder.distinct.counts.tolist() == [3, 2, 1, 2]
    assert encoder.distinct.first_rows.tolist() == [0, 1, 4, 5]


def test_more_ids_than_can_be_numbered_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_encoder, "MOST_ROWS", 3)
    encoder = Encoder()
    encoder.codes(pl.Series([5, 6, 7]))
    with pytest.raises(DataError, match="more than 3 different ids; this is beyond what we can number"):
        encoder.codes(pl.Series([5, 8]))


@given(st.lists(st.lists(st.integers(-3, 9), max_size=5), max_size=4), st.booleans())
def test_ids_seen_in_pieces_are_those_seen_at_once(pieces: list[list[int]], as_text: bool) -> None:
    dtype = pl.String if as_text else pl.Int64
    columns = [pl.Series(piece, dtype=pl.Int64).cast(dtype) for piece in pieces]
    encoder = Encoder()
    for column in columns:
        encoder.codes(column)
    at_once = DistinctIds.of_column(pl.concat([pl.Series([], dtype=dtype), *columns]))
    assert encoder.distinct.ids.to_list() == at_once.ids.to_list()
    assert encoder.distinct.counts.tolist() == at_once.counts.tolist()
    assert encoder.distinct.first_rows.tolist() == at_once.first_rows.tolist()


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
