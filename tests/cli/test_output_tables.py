"""The columns of ids in an output have names of their own."""

import pytest

from cofi_dist.cli.output_tables import id_column_names
from cofi_dist.config import ColumnNames


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (ColumnNames(user="who", item="what"), ("who", "what")),
        (ColumnNames(user="rank"), ("user", "item")),
        (ColumnNames(item="score"), ("user", "item")),
        (ColumnNames(user="a", item="a"), ("user", "item")),
        (ColumnNames(user="item", item="user"), ("item", "user")),
    ],
)
def test_no_two_columns_have_one_name(columns: ColumnNames, names: tuple[str, str]) -> None:
    assert id_column_names(columns, ("rank", "prediction", "score")) == names
