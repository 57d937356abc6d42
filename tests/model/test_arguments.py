"""Wrong arguments are refused in one line."""

import polars as pl
import pytest

from cofi_dist.errors import DataError
from cofi_dist.model.arguments import as_ids


def test_ids_that_are_numbers_with_a_point_are_refused() -> None:
    assert as_ids([1, 2]).dtype == pl.Int64
    with pytest.raises(DataError, match="ids must be integers or text, not Float64"):
        as_ids(pl.Series([1.5]))
