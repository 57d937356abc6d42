"""Items that each rank owns some of: Adam has the bits that it has where X is whole on every rank."""

import pytest
import torch

from tests.support.sharded_problems import KINDS, Problem, require_the_bits_of_one_rank


@pytest.mark.parametrize("kind", KINDS)
def test_sharded_items_have_the_bits_of_replicated_ones(kind: str) -> None:
    require_the_bits_of_one_rank("adam", KINDS[kind])


def test_fast_sums_have_the_same_costs_but_for_rounding() -> None:
    """An order of sums that depends on the ranks."""
    want = Problem(1, dtype=torch.float64, unknown_weight=0.3).run()
    for ranks in (2, 4):
        costs = Problem(ranks, num_blocks=None, block_items=9, dtype=torch.float64, unknown_weight=0.3).run()
        assert costs == pytest.approx(want, rel=1e-10, abs=0)
