"""Lines read one by one: the same faults as many lines read at once."""

import csv
import io
import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.config import ColumnNames
from cofi_dist.data.readers.diagnose import diagnose
from cofi_dist.data.readers.layout import Layout
from cofi_dist.data.readers.lines import NUMBER
from cofi_dist.errors import DataError
from tests.support.prepared import read_ratings

COLUMNS = ("userId", "movieId", "rating")


LAYOUT = Layout(",", 3, {"user": 0, "item": 1, "rating": 2})


FIELD = st.text("ab \"',;é0", min_size=1, max_size=4).filter(lambda text: text == text.strip())


TRIPLES = st.lists(
    st.tuples(FIELD, FIELD, st.floats(-5, 5)), min_size=1, max_size=8, unique_by=lambda t: t[:2]
)


@given(TRIPLES)
def test_what_csv_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, triples: list[tuple[str, str, float]]
) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([COLUMNS, *triples])
    file = tmp_path_factory.getbasetemp() / "back.csv"
    file.write_text(out.getvalue(), encoding="utf-8")
    assert diagnose(file.read_bytes().split(b"\n", 1)[1], LAYOUT, 2) is None
    ratings, users, items = read_ratings(file)
    got = {
        (str(users.raw[int(u)]), str(items.raw[int(i)])): v
        for u, i, v in zip(ratings.user, ratings.item, ratings.value, strict=True)
    }
    assert got == {(user, item): value for user, item, value in triples}


@given(st.from_regex(NUMBER, fullmatch=True) | st.text("0123456789+-.eE_ infa", min_size=1, max_size=8))
def test_both_passes_agree_on_what_a_number_is(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "number.csv"
    file.write_text(f"userId,movieId,rating\n1,1,{text}\n", encoding="utf-8")
    fault = diagnose(f"1,1,{text}\n".encode(), LAYOUT, 2)
    if fault:
        with pytest.raises(DataError, match="line 2: the rating"):
            read_ratings(file)
    else:
        assert read_ratings(file)[0].value.tolist() == [float(text)]


@given(
    st.from_regex(NUMBER, fullmatch=True)
    | st.text("0123456789+-.eE", min_size=1, max_size=8)
    | st.floats(1e-17, 1e17).map(str),
    st.sampled_from(["strength", "weight"]),
)
def test_both_passes_agree_on_what_counts(
    tmp_path_factory: pytest.TempPathFactory, text: str, role: Literal["strength", "weight"]
) -> None:
    """Strengths and weights are above 0, and neither too large nor too small for float32."""
    file = tmp_path_factory.getbasetemp() / "counts.csv"
    file.write_text(f"userId,movieId,rating,w\n1,1,{text if role == 'strength' else 3},{text}\n")
    fault = diagnose(f"1,1,{text}\n".encode(), Layout(",", 3, {"user": 0, "item": 1, role: 2}), 2)
    is_usable = re.fullmatch(NUMBER, text) is not None and 1e-15 <= float(text) <= 1e15
    assert is_usable == (fault is None)
    keys = {"feedback": "implicit"} if role == "strength" else {"columns": ColumnNames(weight="w")}
    if fault:
        with pytest.raises(DataError, match=f"line 2: the {role}") as caught:
            read_ratings(file, **keys)
        assert str(caught.value) == f"{file}: {fault}"
    else:
        ratings, *_ = read_ratings(file, **keys)
        found = ratings.value if role == "strength" or ratings.weight is None else ratings.weight
        assert found.tolist() == [float(text)] or (ratings.weight is None and float(text) == 1)
