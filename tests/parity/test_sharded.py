"""Runs in which each rank owns some of the items: the bits of those in which every rank has all."""

from pathlib import Path

import pytest

from cofi_dist.report.compare import compare
from tests.parity.test_invariant import assert_same_bits, run

SHARDED = ["train.items=sharded", "train.item_block=90"]


def test_a_run_that_is_moved_between_kinds_of_items_keeps_its_bits(tmp_path: Path) -> None:
    """With validation by RMSE, and a best copy that is moved, too."""
    whole = run(tmp_path, "whole", 1)
    for ranks, epochs, kind in ((4, 4, []), (3, 8, SHARDED), (1, 12, [])):
        moved = run(tmp_path, "moved", ranks, *kind, f"train.epochs={epochs}")
    assert_same_bits(moved, whole)


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
def test_sharded_runs_have_the_bits_of_replicated_ones(implicit: bool, tmp_path: Path) -> None:
    """With validation by lists, whose best items are found block by block."""
    given = ["validation.metric=ndcg", "validation.every=4", "train.epochs=8"]
    if implicit:
        given += ["data.feedback=implicit"]
    whole = run(tmp_path, "whole", 1, *given)
    sharded = run(tmp_path, "sharded", 2, *given, *SHARDED)
    found = compare(sharded, whole)
    assert {"cost", "validation_ndcg", "X", "W", "b", "c"} <= {each.name for each in found}
    assert [each for each in found if not each.bit_identical] == []


def test_als_is_gone_on_with_from_sharded_items_to_replicated_ones(tmp_path: Path) -> None:
    """The factors of the sweep before are moved, too, and so is the momentum."""
    given = ["train.optimizer=als", "train.log_every=1", "checkpoint.every=2", "validation.every=2"]
    whole = run(tmp_path, "whole", 1, *given, "train.epochs=4")
    run(tmp_path, "moved", 2, *given, *SHARDED, "train.epochs=2")
    assert_same_bits(run(tmp_path, "moved", 1, *given, "train.epochs=4"), whole)
