"""The vector index ranks as the model does."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from cofi_dist.errors import ConfigError
from cofi_dist.model.export import export
from cofi_dist.model.index import build_index, index_query
from tests.support.models import (
    made_up,
)


@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
@pytest.mark.parametrize("item_bias", [False, True])
def test_the_index_ranks_as_the_model_does(item_bias: bool, feedback: str, tmp_path: Path) -> None:
    usearch = pytest.importorskip("usearch.index")
    settings = f"data.feedback={feedback}"
    model = made_up(tmp_path, 40, 500, settings, dtype=torch.float32, item_bias=item_bias)
    export(model, "index", tmp_path / "out", replace=False)
    index = usearch.Index.restore(tmp_path / "out" / "items.usearch")
    ids = pl.read_parquet(tmp_path / "out" / "item_ids.parquet")["id"]
    queries = index_query(model.factors.W)
    exact, quick = index.search(queries, 10, exact=True).keys, index.search(queries, 10).keys
    want = [model.recommend(user, k=10)["item"].to_list() for user in model.users.raw]
    assert [ids[keys].to_list() for keys in exact.astype(np.int64)] == want
    recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(quick.tolist(), exact.tolist(), strict=True)])
    assert recall > 0.9, "of the approximate search"


def test_without_usearch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ConfigError, match=r"an index needs usearch: pip install 'cofi-dist\[index\]'"):
        build_index(made_up(tmp_path).scorer)
