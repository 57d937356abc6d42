"""Hold one rank's ratings block by block of items, so that no more than a block's rows of X need to be there.

Sums over users are formed as over all items at once: a block's ratings are cut into tiles of the same users.
Sums over a user's ratings go on from block to block, in the order of the items. On a CPU, and on a
CUDA device if the order of sums is fixed, both therefore have the bits of those that
`cofi_dist.kernels.rating_matrix` forms.

U users, M items, K features, N ratings; T subtrees and B blocks of users, which are not the blocks of items.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from cofi_dist.kernels.base import RatingKernels, Side
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.rating_matrix import (
    AnyCsr,
    Backend,
    columns_mapped,
    device_backend,
    kernels_of_items,
    reordered,
)
from cofi_dist.kernels.sum_memory import SumMemory, SumPlace
from cofi_dist.sharding.item_shards import ItemShards
from cofi_dist.sharding.ranges import UserRange, offsets_from_counts
from cofi_dist.sharding.reduction_tree import ReductionBlocks


class UserGradients(Protocol):
    """Add what a block's ratings contribute to the gradients of the users."""

    def add(self, solved: Side[Tensor], fixed: Side[Tensor], sums: Side[Tensor]) -> None:
        """Add sum err_n f_n and sum err_n of each user's ratings to the sums, (U, K) and (U,)."""
        ...


@dataclass(frozen=True)
class ItemBlock:
    """Hold the ratings of a block of items.

    Attributes:
        items: which they are.
        by_item: kernels over the ratings of each of these items; `fixed` are all users of the rank.
        by_user: the same ratings, user by user; None if they are not needed.
        place: where sums over the ratings go.
    """

    items: UserRange
    by_item: RatingKernels
    by_user: UserGradients | None
    place: SumPlace

    def item_gradients(self, items: Side[Tensor], users: Side[Tensor]) -> tuple[Side[Tensor], Tensor]:
        """Return the sums that `RatingKernels.error_gradients` does, with rows of padding, (T, rows, ...)."""
        *sums, half_BV = self.by_item.error_gradients(items, users)
        return self._placed(*sums), half_BV

    def item_products(self, directions: Side[Tensor], users: Side[Tensor]) -> Side[Tensor]:
        """Return the sums that `RatingKernels.normal_products` does, with rows of padding, (T, rows, ...)."""
        return self._placed(*self.by_item.normal_products(directions, users))

    def _placed(self, features: Tensor, bias: Tensor) -> Side[Tensor]:
        """Return sums in their place, whose rows of padding are zeros."""
        placed, rows = self.place.sums(features[0]), len(self.items)
        for target, given in zip(placed, (features, bias), strict=True):
            if target.data_ptr() != given.data_ptr():
                target[:, :rows].copy_(given)
            target[:, rows:].zero_()
        return placed


class ItemBlocks:
    """Hold one rank's ratings, cut into blocks of items.

    Args:
        csr: the ratings, user by user, each user's by item; `values` and `weights` have the factors' dtype.
        shards: the blocks, and how many rows of each go to a rank.
        blocks: blocks of this rank's users, in which sums over users are formed.
        device: where the kernels run.
        dtype: of the factors.
        with_users: whether the blocks have their ratings user by user, too.
        backend: kernels to use; None for those of the device.

    Attributes:
        blocks: the blocks of items, in order.
        sums: sums over the rows of this rank's users.
        num_users: U.
    """

    def __init__(
        self,
        csr: AnyCsr,
        shards: ItemShards,
        blocks: ReductionBlocks,
        device: torch.device,
        dtype: torch.dtype,
        *,
        with_users: bool = True,
        backend: Backend | None = None,
    ) -> None:
        self.sums, self.num_users = BlockSums(blocks), len(csr.indptr) - 1
        is_compiled = device.type == "cpu" and backend is None
        rows = [shards.padded_rows(items) for items in shards.blocks]
        memory = SumMemory(len(blocks.subtrees), max(rows, default=0))
        places = [memory.place(padded, number % 2) for number, padded in enumerate(rows)]
        parts = _cut_by_items(csr, shards.blocks)
        if is_compiled:
            self.blocks = _numba_blocks(csr, parts, places, blocks, dtype, with_users=with_users)
        else:
            backend = backend or device_backend(device)
            self.blocks = [
                ItemBlock(
                    part.items,
                    kernels_of_items(part.csr, len(part.items), blocks, device, backend),
                    _device_gradients(part.csr, device, backend, blocks) if with_users else None,
                    place,
                )
                for part, place in zip(parts, places, strict=True)
            ]


@dataclass(frozen=True)
class _Part:
    """Hold the ratings of a block of items, user by user; `indices` count from its first item."""

    items: UserRange
    csr: AnyCsr


def _cut_by_items(csr: AnyCsr, blocks: Sequence[UserRange]) -> Iterator[_Part]:
    """Yield the ratings of all users in each block of items; there are users times blocks of offsets."""
    if len(blocks) == 1:
        yield _Part(blocks[0], csr)
        return
    from cofi_dist.kernels.cpu.counting_sort import sort_by_row

    size = len(blocks[0]) if blocks else 1
    place = np.empty(len(csr.indices), np.int64)
    bounds = sort_by_row(csr.indices // size, 0, len(csr.indices), len(blocks), place)
    items = np.empty_like(csr.indices)
    items[place] = csr.indices
    by_block = reordered(csr, place, bounds)
    num_users = len(csr.indptr) - 1
    for block, start, stop in zip(blocks, bounds[:-1], bounds[1:], strict=True):
        mine = slice(int(start), int(stop))
        counts = np.bincount(by_block.indices[mine], minlength=num_users)
        part = columns_mapped(by_block, itemgetter(mine))
        own = part._replace(indptr=offsets_from_counts(counts), indices=items[mine] - np.int32(block.start))
        yield _Part(block, own)


def _numba_blocks(
    csr: AnyCsr,
    parts: Iterable[_Part],
    places: Sequence[SumPlace],
    users: ReductionBlocks,
    dtype: torch.dtype,
    *,
    with_users: bool,
) -> list[ItemBlock]:
    from cofi_dist.kernels.cpu.backend import NumbaKernels
    from cofi_dist.kernels.cpu.schedule import by_tiles, ratings_of_tiles, tiles_of_blocks

    tiles, found = tiles_of_blocks(csr.indptr, users.users), []
    for part, place in zip(parts, places, strict=True):
        ratings, num_rows = part.csr, len(part.items)
        of_tiles = ratings_of_tiles(ratings.indptr, tiles)
        segments, order = by_tiles(ratings.indices, num_rows, of_tiles, users.subtrees, every_row=False)
        by_item = reordered(ratings, order, segments.indptr)
        found.append(
            ItemBlock(
                part.items,
                NumbaKernels(segments, by_item, num_rows, dtype, place),
                _numba_gradients(ratings) if with_users else None,
                place,
            )
        )
    return found


def _numba_gradients(csr: AnyCsr) -> UserGradients:
    """Return the compiled loops over the users that have ratings."""
    from cofi_dist.kernels.cpu.backend import NumbaGradients

    rows = np.flatnonzero(np.diff(csr.indptr)).astype(np.int32)
    # where the ratings of these rows start, and last where they end; the others have none
    return NumbaGradients(rows, csr._replace(indptr=np.append(csr.indptr[rows], csr.indptr[-1:])))


def _device_gradients(
    csr: AnyCsr, device: torch.device, backend: Backend, users: ReductionBlocks
) -> UserGradients:
    """Return what adds the gradients of a block, rating after rating if their order is fixed."""
    if not users.fixes_order:
        return _SummedGradients(backend(csr, device))
    from cofi_dist.kernels.cuda.backend import TritonKernels  # only Triton's kernels fix an order

    return TritonKernels(csr, device)


class _SummedGradients:
    """Add the sums that a back end has formed on their own."""

    def __init__(self, kernels: RatingKernels) -> None:
        self._kernels = kernels

    def add(self, solved: Side[Tensor], fixed: Side[Tensor], sums: Side[Tensor]) -> None:
        features, bias, _ = self._kernels.error_gradients(solved, fixed)
        sums.features.add_(features[0])
        sums.bias.add_(bias[0])
