"""Let users go by in batches, each with the rows of X that its ratings refer to, fetched from their owners.

Only rows that some user of the batch has rated travel. Which ones those are never changes, so the ranks tell
each other once, at the start.

K features, U users of this rank, N ratings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import RatingKernels, Side
from cofi_dist.kernels.rating_matrix import AnyCsr, Backend, of_users, row_kernels
from cofi_dist.optim.base import PendingFetch
from cofi_dist.sharding.item_shards import ItemShards
from cofi_dist.sharding.ranges import UserRange


@dataclass(frozen=True)
class UserBatch:
    """Hold the ratings of some users.

    Attributes:
        users: which they are, counted from the rank's first one.
        kernels: over the ratings of each of them; `fixed` are the fetched rows.
        places: which rows are fetched, among those that their owners hold: from rank 0, then from rank 1, and
            so on; (rows,) int32.
        counts: how many from each rank.
    """

    users: UserRange
    kernels: RatingKernels
    places: Tensor
    counts: Sequence[int]


@dataclass(frozen=True)
class _Requests:
    """Hold what the other ranks' batches of one turn ask of this rank.

    Attributes:
        places: of the own rows to send: to rank 0, then to rank 1, and so on; (rows,).
        counts: how many to each rank.
    """

    places: Tensor
    counts: Sequence[int]


# Works on a batch and its fetched rows, (rows, K) and (rows,).
Work = Callable[[UserBatch, Side[Tensor]], None]


class UserBatches:
    """Hold one rank's ratings, user by user, in batches.

    The ratings of a batch refer to at most as many rows of X as a block of items has, unless a single user
    has more.

    Args:
        csr: the ratings, user by user; `values` and `weights` have the factors' dtype.
        shards: which rank owns which items.
        like: gives the device and the dtype.
        has_bias: whether items have biases, which then are fetched too; else they are zeros.
        fixes_order: that of the kernels.
        backend: kernels to use; None for those of the device.

    Attributes:
        num_users: U.
        counts, curvature: as in `RatingKernels`, of all users.
    """

    def __init__(
        self,
        csr: AnyCsr,
        shards: ItemShards,
        like: Tensor,
        *,
        has_bias: bool,
        fixes_order: bool,
        backend: Backend | None = None,
    ) -> None:
        device = like.device
        make = partial(row_kernels, device=device, dtype=like.dtype, fixes_order=fixes_order, backend=backend)
        self._batches = list(_cut(csr, shards, make))
        self._has_bias, self._ranks, self._device = has_bias, shards.world_size, device
        self._requests: list[_Requests] = []
        self._held: list[Side[Tensor]] = []
        self.num_users = len(csr.indptr) - 1
        self.counts = torch.cat([batch.kernels.counts for batch in self._batches])
        self.curvature = torch.cat([batch.kernels.curvature for batch in self._batches])

    def agree(self) -> Iterator[PendingFetch]:
        """Yield what lets all ranks know which rows they will send; to be done once, before any `over`."""
        each, nothing = [1] * self._ranks, [0] * self._ranks
        turns = torch.empty(self._ranks, dtype=torch.int64)
        yield PendingFetch(torch.full_like(turns, len(self._batches)), each, turns, each)
        none = torch.empty(0, dtype=torch.int32)
        for turn in range(int(turns.max())):
            batch = self._batches[turn] if turn < len(self._batches) else None
            wanted, counts = (none, nothing) if batch is None else (batch.places, batch.counts)
            asked = torch.empty(self._ranks, dtype=torch.int64)
            yield PendingFetch(torch.tensor(counts), each, asked, each)
            places = torch.empty(int(asked.sum()), dtype=torch.int32)
            yield PendingFetch(wanted, counts, places, asked.tolist())
            self._requests.append(_Requests(places.to(self._device), asked.tolist()))

    def over(self, own: Side[Tensor], work: Work) -> Iterator[PendingFetch]:
        """Yield what the ranks have to do so that all batches go by, in order.

        Args:
            own: this rank's rows of X and c, (num_owned, K) and (num_owned,); must not move meanwhile.
            work: is called with each batch and its rows, while those of the next batch travel.
        """

        def work_on(turn: int) -> None:
            if 0 <= turn < len(self._batches):
                work(self._batches[turn], self._rows(turn, own))

        for turn, requests in enumerate(self._requests):
            rows = self._rows(turn, own)
            counts = self._batches[turn].counts if turn < len(self._batches) else [0] * self._ranks
            if self._has_bias:
                sent = own.bias.index_select(0, requests.places)
                yield PendingFetch(sent, requests.counts, rows.bias, counts)
            sent = own.features.index_select(0, requests.places)
            yield PendingFetch(sent, requests.counts, rows.features, counts, partial(work_on, turn - 1))
        work_on(len(self._requests) - 1)

    def _rows(self, turn: int, like: Side[Tensor]) -> Side[Tensor]:
        """Return memory for the rows of a batch; those of the batch before stay."""
        if not self._held:
            most = max((len(batch.places) for batch in self._batches), default=0)
            features, bias = like
            self._held = [
                Side(features.new_empty(most, features.shape[1]), bias.new_zeros(most)) for _ in range(2)
            ]
        rows = len(self._batches[turn].places) if turn < len(self._batches) else 0
        return Side(*(part[:rows] for part in self._held[turn % 2]))


def _cut(csr: AnyCsr, shards: ItemShards, make: Callable[[AnyCsr], RatingKernels]) -> Iterator[UserBatch]:
    """Cut the users into batches, with kernels that are made of their ratings."""
    from cofi_dist.kernels.cpu.row_batches import cut_into_batches  # the compiled loops are slow to load

    cuts = cut_into_batches(csr.indptr, csr.indices, shards.num_items, shards.block_items)
    # where each item's row is among those fetched
    place_of = np.empty(shards.num_items, np.int32)
    for start, stop in pairwise(cuts.tolist()):
        users = UserRange(start, stop)
        part = of_users(csr, users)
        touched = np.unique(part.indices)
        owners, places = shards.locate(touched)
        order = np.argsort(owners, kind="stable")
        place_of[touched[order]] = np.arange(len(touched), dtype=np.int32)
        yield UserBatch(
            users,
            make(part._replace(indices=place_of[part.indices])),
            torch.from_numpy(places[order].astype(np.int32)),
            np.bincount(owners, minlength=shards.world_size).tolist(),
        )
