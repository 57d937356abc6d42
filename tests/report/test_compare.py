"""What two runs printed is compared epoch by epoch, and their models bit by bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.errors import RunError
from cofi_dist.report.compare import Difference, compare
from tests.support.models import small
from tests.support.written_runs import falling, rising, write_run


def differences(first: Path, second: Path) -> dict[str, Difference]:
    return {found.name: found for found in compare(first, second)}


def test_a_column_that_differs_is_named_with_its_epochs(tmp_path: Path) -> None:
    rows, changed = falling(4), falling(5)
    changed[1]["cost"] += 0.5
    changed[2]["cost"] += 2.0
    for name, lines in (("a", rows), ("b", changed)):
        small(tmp_path).save(write_run(tmp_path / name, lines) / "model")
    found = differences(tmp_path / "a", tmp_path / "b")
    cost = found["cost"]
    assert (cost.bit_identical, cost.largest, cost.where) == (False, 2.0, "epoch 21")
    assert cost.detail == "first in epoch 11; 1 only in one run"


def test_figures_of_lists_are_compared_too(tmp_path: Path) -> None:
    rows = rising(4)
    small(tmp_path).save(write_run(tmp_path / "a", rows) / "model")
    rows[2]["validation_ndcg"] -= 0.125
    small(tmp_path).save(write_run(tmp_path / "b", rows) / "model")
    found = differences(tmp_path / "a", tmp_path / "b")
    assert found["cost"].bit_identical
    assert (found["validation_ndcg"].largest, found["validation_ndcg"].where) == (0.125, "epoch 3")
    small(tmp_path).save(write_run(tmp_path / "c", falling(4)) / "model")
    found = differences(tmp_path / "a", tmp_path / "c")
    assert found["validation_ndcg"].detail.endswith("only in one run")
    assert found["validation_rmse"].detail.endswith("only in one run")


def test_figures_of_different_lists_are_not_subtracted(tmp_path: Path) -> None:
    lists: dict[str, dict[str, int]] = {"a": {"validation_k": 10}, "b": {"validation_k": 3}}
    lists["c"] = lists["b"] | {"validation_users": 20}
    for name, more in lists.items():
        small(tmp_path).save(write_run(tmp_path / name, [line | more for line in rising(4)]) / "model")
    for first, second, names in (
        ("a", "b", ["validation NDCG@10", "validation NDCG@3"]),
        ("b", "c", ["validation NDCG@3", "validation NDCG@3 of about 20 users"]),
    ):
        found = differences(tmp_path / first, tmp_path / second)
        assert [name for name in found if name.startswith("validation")] == names
        assert all(np.isnan(found[name].largest) for name in names)
        assert found[names[0]].detail == "first in epoch 1; 4 only in one run"


def test_a_tensor_that_differs_is_named_with_its_place(tmp_path: Path) -> None:
    model = small(tmp_path)
    model.save(write_run(tmp_path / "a") / "model")
    model.factors.W[2, 1] = torch.nextafter(model.factors.W[2, 1], torch.tensor(9.0))
    model.save(write_run(tmp_path / "b") / "model")
    found = differences(tmp_path / "a", tmp_path / "b")
    assert [name for name, each in found.items() if not each.bit_identical] == ["W"]
    assert found["W"].where == "[2 1]"
    assert 0 < found["W"].largest < 1e-6
    assert found["X"].detail.startswith("sha256 ")


def test_tensors_of_different_shapes_have_no_largest_difference(tmp_path: Path) -> None:
    model = small(tmp_path)
    model.save(write_run(tmp_path / "a") / "model")
    arrays = replace(model.arrays, c=np.zeros((1, 5), np.float32))
    replace(model, arrays=arrays).save(write_run(tmp_path / "b") / "model")
    found = differences(tmp_path / "a", tmp_path / "b")["c"]
    assert not found.bit_identical
    assert np.isnan(found.largest)
    assert found.detail == "float32 (0,) and float32 (1, 5)"


def test_a_run_without_a_model_is_not_compared_with_one_that_has_it(tmp_path: Path) -> None:
    small(tmp_path).save(write_run(tmp_path / "a") / "model")
    write_run(tmp_path / "b")
    with pytest.raises(RunError, match="b: has no model to compare; is the run finished"):
        compare(tmp_path / "a", tmp_path / "b")
