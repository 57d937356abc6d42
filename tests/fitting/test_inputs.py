"""The same ratings, by every way into `fit`, give the bits of the command on their file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from scipy.sparse import coo_array

import cofi_dist
from cofi_dist import Model
from cofi_dist.config.strict_yaml import to_yaml
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.train import train
from tests.support.ratings_files import random_table, save


def as_matrix(table: pl.DataFrame) -> Any:
    """Users are rows, and items are columns; the ids are their numbers."""
    users, items, values = (table[name].to_numpy() for name in ("userId", "movieId", "rating"))
    return coo_array((values, (users, items))).tocsr()


WAYS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda table: table,
    "pandas": lambda table: table.to_pandas(),
    "Arrow": lambda table: table.to_arrow(),
    "scipy": as_matrix,
    "arrays": lambda table: tuple(table[name].to_numpy() for name in table.columns[:3]),
}


def numbered(table: pl.DataFrame) -> pl.DataFrame:
    """The table with ids that are small enough for a matrix."""
    return table.with_columns(pl.col("userId") // 7, (10**10 - pl.col("movieId")) // 11)


@pytest.mark.parametrize(("optimizer", "feedback"), [("adam", "explicit"), ("als", "implicit")])
def test_every_way_gives_the_bits_of_the_command(optimizer: str, feedback: str, tmp_path: Path) -> None:
    table = numbered(random_table())
    sections: dict[str, dict[str, Any]] = {
        "data": {"feedback": feedback},
        "model": {"num_features": 4},
        "train": {"optimizer": optimizer, "epochs": 4, "log_every": 4},
    }
    file = save(table, tmp_path / "ratings.csv")
    of_file = {**sections["data"], "ratings": str(file)}
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml({**sections, "data": of_file, "run_dir": str(tmp_path / "run")}))
    by_command = Model.load(train(config, [], SoloComm(), quiet=True))
    parts = [save(table[:50], tmp_path / "b.csv.zst"), save(table[50:], tmp_path / "a.csv.gz")]
    ways = {**{name: way(table) for name, way in WAYS.items()}, "file": file, "files": parts}
    ways["pattern"] = str(tmp_path / "?.csv.*")
    for name, ratings in ways.items():
        model = cofi_dist.fit(ratings, progress=False, **sections)  # type: ignore[arg-type]
        assert model.users.raw.equals(by_command.users.raw), name
        assert model.items.raw.equals(by_command.items.raw), name
        for letter, tensor in by_command.tensors.items():
            assert torch.equal(model.tensors[letter], tensor), (name, letter)
    assert np.isfinite(by_command.factors.X.numpy()).all()


def test_ids_of_text_give_the_bits_of_the_command(tmp_path: Path) -> None:
    table = random_table().with_columns(pl.format("u{}", "userId").alias("userId"))
    sections = {"model": {"num_features": 4}, "train": {"epochs": 2}}
    want = cofi_dist.fit(save(table, tmp_path / "ratings.csv"), progress=False, **sections)  # type: ignore[arg-type]
    categories = table.to_pandas().astype({"userId": "category"})
    model = cofi_dist.fit(categories, progress=False, **sections)  # type: ignore[arg-type]
    assert model.users.raw.equals(want.users.raw)
    assert torch.equal(model.factors.W, want.factors.W)
