"""Sums in the order of the tree: of several subtrees, and if the ranks are lost meanwhile."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.distributed.ordered_sum import TreeReducer
from cofi_dist.errors import RankLostError


@pytest.mark.parametrize("overlaps", [False, True])
def test_subtrees_are_added_to_the_first_and_the_others_left(overlaps: bool) -> None:
    X, c = torch.rand(3, 5, 2), torch.rand(3, 7)
    before = X.clone(), c.clone()
    calls: list[int] = []
    # blocks 2 and 3 are siblings, so they are added first
    reducer = TreeReducer(SoloComm(), [[range(2), range(2, 3), range(3, 4)]])
    reducer.all_reduce_(X, c, overlap=(lambda: calls.append(1)) if overlaps else None)
    for after, (first, second, third) in ((X, before[0]), (c, before[1])):
        assert torch.equal(after[0], first + (second + third))
        assert torch.equal(after[1], second)
        assert torch.equal(after[2], third)
    assert len(calls) == overlaps


class LostComm(SoloComm):
    """A communicator whose peers are gone."""

    def all_to_all(
        self, parts: Tensor, lengths: Sequence[int], sent_lengths: Sequence[int] | None = None
    ) -> Tensor:
        raise RankLostError("lost contact with rank 1")


def test_a_lost_rank_is_an_error_once_what_overlaps_is_done() -> None:
    calls: list[int] = []
    reducer = TreeReducer(LostComm(), [[range(1)]])
    with pytest.raises(RankLostError, match="rank 1"):
        reducer.all_reduce_(torch.ones(1, 3), overlap=lambda: calls.append(1))
    assert calls == [1]


def test_slices_are_summed_by_their_owner_in_tree_order() -> None:
    sums, own = torch.rand(3, 4, 2), torch.empty(4, 2)
    want = sums[0] + (sums[1] + sums[2])
    whole = torch.empty(4)
    reducer = TreeReducer(SoloComm(), [[range(2), range(2, 3), range(3, 4)]])
    reducer.exchange([(torch.arange(4.0), whole)], [(sums, own)], lambda: None)
    assert torch.equal(own, want)
    assert torch.equal(whole, torch.arange(4.0))
