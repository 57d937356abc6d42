"""The model in the files that other programs read."""

import resource
import signal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from cofi_dist.errors import RunError
from cofi_dist.files import tensor_file
from cofi_dist.files.written_file import checked_file
from cofi_dist.model import Model, row_parts
from cofi_dist.model.export import SIDES, export, write_parquet
from cofi_dist.model.row_parts import RowParts
from tests.support.models import in_parts, made_up


@pytest.fixture(params=["plain", "item bias", "events"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    feedback = "implicit" if request.param == "events" else "explicit"
    settings, item_bias = f"data.feedback={feedback}", request.param == "item bias"
    return made_up(tmp_path, 3, 5, settings, dtype=torch.float32, item_bias=item_bias)


def test_pt_is_what_the_notebook_saves(model: Model, tmp_path: Path) -> None:
    files = export(model, "pt", tmp_path / "out", replace=False)
    assert len(files) == (3 if model.factors.c is None else 4)
    for name, shape in (("X", (5, 4)), ("W", (3, 4)), ("b", (1, 3))):
        tensor = torch.load(tmp_path / "out" / f"{name}.pt", weights_only=True)
        assert type(tensor) is torch.Tensor
        assert tensor.shape == shape
        assert torch.equal(tensor, getattr(model.factors, name))


def test_npz_and_safetensors_hold_the_means_and_counts_too(model: Model, tmp_path: Path) -> None:
    assert export(model, "npz", tmp_path, replace=False) == [tmp_path / "factors.npz"]
    export(model, "safetensors", tmp_path, replace=False)
    arrays, tensors = np.load(tmp_path / "factors.npz"), load_file(tmp_path / "factors.safetensors")
    bias = [] if model.factors.c is None else ["c"]
    names = ["W", "X", "b", *bias, "item_counts", "item_means", "user_counts"]
    assert sorted(arrays) == sorted(tensors) == names
    assert np.array_equal(arrays["X"], model.factors.X.numpy())
    assert torch.equal(tensors["W"], model.factors.W)


def test_parquet_has_the_factors_by_raw_id(model: Model, tmp_path: Path) -> None:
    export(model, "parquet", tmp_path, replace=False)
    items, users = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("items", "users"))
    assert items["id"].to_list() == [100, 101, 102, 103, 104]
    assert np.array_equal(items["x"].to_numpy(), model.factors.X.numpy())
    assert np.array_equal(items["mean"].to_numpy(), model.item_means.numpy())
    assert np.array_equal(items["count"].to_numpy(), model.item_counts.numpy())
    assert ("c" in items.columns) == (model.factors.c is not None)
    assert np.array_equal(users["count"].to_numpy(), model.user_counts.numpy())
    assert users["id"].to_list() == ["u0000", "u0001", "u0002"]
    assert np.array_equal(users["w"].to_numpy(), model.factors.W.numpy())
    assert np.array_equal(users["b"].to_numpy(), model.factors.b[0].numpy())


def test_an_export_overwrites_only_when_told(model: Model, tmp_path: Path) -> None:
    export(model, "pt", tmp_path, replace=False)
    (tmp_path / "X.pt").unlink()
    with pytest.raises(RunError, match=r"W\.pt: already exists"):
        export(model, "pt", tmp_path, replace=False)
    assert not (tmp_path / "X.pt").exists(), "refused before anything is written"
    export(model, "pt", tmp_path, replace=True)
    assert (tmp_path / "X.pt").exists()


@pytest.mark.parametrize("form", ["pt", "npz", "safetensors", "parquet", "index"])
def test_a_full_disk_is_one_line_and_leaves_nothing(form: str, model: Model, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))  # as a full disk, after 16 bytes
    try:
        with pytest.raises(RunError, match="cannot be written"):
            export(model, form, tmp_path / "out", replace=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.parametrize("num_parts", [1, 2, 3, 7])
def test_the_parts_of_a_table_are_the_table(num_parts: int, model: Model, tmp_path: Path) -> None:
    export(model, "parquet", tmp_path, replace=False)
    for side in SIDES:
        for part in range(num_parts):
            with checked_file(tmp_path / f"{side}-{part}") as file:
                write_parquet(model, side, file, part, num_parts)
        parts = pl.concat([pl.read_parquet(tmp_path / f"{side}-{part}") for part in range(num_parts)])
        assert parts.equals(pl.read_parquet(tmp_path / f"{side}.parquet"))


@pytest.mark.parametrize("form", ["npz", "safetensors", "parquet"])
def test_a_model_in_parts_is_never_read_whole(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lengths = in_parts(made_up(tmp_path, 90, 70), tmp_path / "parts", users=[33]), list[int]()
    between = RowParts._between

    def watched(self: RowParts, start: int, stop: int) -> np.ndarray:
        lengths.append(stop - start)
        return between(self, start, stop)

    monkeypatch.setattr(RowParts, "_between", watched)
    monkeypatch.setattr(RowParts, "__array__", None)  # which would make one array of all rows
    for module, name in ((row_parts, "BLOCK_BYTES"), (tensor_file, "BLOCK")):
        monkeypatch.setattr(module, name, 10 * 4 * 8)
    export(model, form, tmp_path / "out", replace=False)
    assert 0 < max(lengths) <= 10
