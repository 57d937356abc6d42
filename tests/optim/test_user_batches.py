"""Users that go by in batches, with the rows of X that they have rated."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cofi_dist.kernels.base import Csr, Side
from cofi_dist.kernels.cpu.row_batches import cut_into_batches
from cofi_dist.optim.user_batches import UserBatch, UserBatches
from cofi_dist.sharding.item_shards import ItemShards
from cofi_dist.sharding.ranges import offsets_from_counts
from tests.support.lockstep import Lockstep


def random_csr(users: int, items: int, seed: int) -> Csr:
    rng = np.random.default_rng(seed)
    rated = [np.flatnonzero(rng.random(items) < rng.random()).astype(np.int32) for _ in range(users)]
    indices = np.concatenate([np.empty(0, np.int32), *rated])
    return Csr(
        offsets_from_counts(np.array(list(map(len, rated)), np.int64)), indices, rng.random(len(indices))
    )


@given(st.integers(0, 12), st.integers(1, 30), st.integers(1, 40), st.integers(0, 50))
def test_batches_refer_to_so_many_rows_or_are_one_user(users: int, items: int, most: int, seed: int) -> None:
    csr = random_csr(users, items, seed)
    cuts = cut_into_batches(csr.indptr, csr.indices, items, most)
    assert cuts[0] == 0
    assert cuts[-1] == users
    assert (np.diff(cuts) > 0).all() or users == 0

    def referred(start: int, stop: int) -> int:
        return len(np.unique(csr.indices[csr.indptr[start] : csr.indptr[stop]]))

    for number, (start, stop) in enumerate(pairwise(cuts)):
        assert referred(start, stop) <= most or stop == start + 1
        if number + 2 < len(cuts):  # the next user would be too many
            assert referred(start, stop + 1) > most


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(("ranks", "block_items"), [(1, 30), (2, 8), (3, 30), (3, 7)])
def test_each_batch_gets_the_rows_that_it_refers_to(ranks: int, block_items: int, *, has_bias: bool) -> None:
    items = 30
    X, c = torch.arange(2 * items, dtype=torch.float64).view(items, 2), torch.arange(items).double()
    csrs = [random_csr(users, items, seed) for seed, users in enumerate((9, 0, 4)[:ranks])]
    batches, own, seen = [], [], [list[int]() for _ in csrs]
    for rank, csr in enumerate(csrs):
        shards = ItemShards(items, block_items, ranks, rank)
        rows = torch.from_numpy(shards.own_rows(np.arange(items)))
        own.append(Side(X[rows], c[rows] if has_bias else torch.zeros(len(rows)).double()))
        batches.append(UserBatches(csr, shards, X, has_bias=has_bias, fixes_order=False))

    def look(rank: int, batch: UserBatch, fetched: Side[torch.Tensor]) -> None:
        indptr, indices, _ = batch.kernels.csr
        for user, start, stop in zip(
            range(batch.users.start, batch.users.stop), indptr, indptr[1:], strict=False
        ):
            seen[rank].append(user)
            wanted = csrs[rank].indices[csrs[rank].indptr[user] : csrs[rank].indptr[user + 1]]
            places = indices[start:stop].long()
            assert torch.equal(fetched.features[places], X[wanted])
            assert torch.equal(fetched.bias[places], c[wanted] * has_bias)

    lockstep = Lockstep([[range(1)]])
    lockstep.run([each.agree() for each in batches])
    for _ in range(2):
        lockstep.run(
            [
                each.over(rows, lambda batch, fetched, rank=rank: look(rank, batch, fetched))  # type: ignore[misc]
                for rank, (each, rows) in enumerate(zip(batches, own, strict=True))
            ]
        )
    assert seen == [2 * list(range(len(csr.indptr) - 1)) for csr in csrs]
