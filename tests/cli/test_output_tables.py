"""What the columns of ids are called in an output."""

import pytest

from cofi_dist.cli.output_tables import id_column_names
from cofi_dist.config import Columns


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (Columns(user="who", item="what"), ("who", "what")),
        (Columns(user="rank"), ("user", "item")),
        (Columns(item="score"), ("user", "item")),
        (Columns(user="a", item="a"), ("user", "item")),
        (Columns(user="item", item="user"), ("item", "user")),
    ],
)
def test_no_two_columns_have_one_name(columns: Columns, names: tuple[str, str]) -> None:
    assert id_column_names(columns, ("rank", "prediction", "score")) == names
