"""Hold one rank's ratings in both orders, by user and by item, in the back end of their device.

The compiled loops and Triton are imported only if they are used: other costs, and commands that only read
saved models, do without them.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from cofi_dist.kernels.base import Csr, Index, RatingKernels, WeightedCsr
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.sharding.reduction_tree import ReductionBlocks

AnyCsr = Csr | WeightedCsr
FloatArray = NDArray[np.floating]

# Makes the kernels of one side from its ratings, on a device.
Backend = Callable[[AnyCsr, torch.device], RatingKernels]

# Users whose ratings are moved at once while the ratings are transposed; it bounds temporary memory.
USERS_AT_ONCE = 2**14


class RatingMatrix:
    """Hold one rank's ratings in both orders, for least squares.

    Args:
        csr: the ratings, user by user; `values` and `weights` have the dtype of the factors.
        num_items: number of items.
        dtype: of the factors.
        blocks: blocks of this rank's users, in which sums over users are formed.
        device: where the kernels run.
        tiled: on a CPU, sum the items' ratings tile by tile of users. This is faster, but whole rows can only
            be solved without tiles.
        backend: kernels to use; None for those of the device.

    Attributes:
        by_user, by_item: kernels over the ratings of each row of W, and of each row of X.
        sums: sums over the rows of the factors.
    """

    by_user: RatingKernels
    by_item: RatingKernels

    def __init__(
        self,
        csr: AnyCsr,
        num_items: int,
        blocks: ReductionBlocks,
        device: torch.device,
        dtype: torch.dtype,
        *,
        tiled: bool = True,
        backend: Backend | None = None,
    ) -> None:
        self.sums = BlockSums(blocks)
        self.by_user = row_kernels(csr, device, dtype, fixes_order=blocks.fixes_order, backend=backend)
        if device.type == "cpu" and backend is None:
            self.by_item = _numba_item_kernels(csr, num_items, blocks if tiled else None, dtype)
            return
        backend = backend or device_backend(device)
        self.by_item = kernels_of_items(csr, num_items, blocks, device, backend)


def row_kernels(
    csr: AnyCsr,
    device: torch.device,
    dtype: torch.dtype,
    *,
    fixes_order: bool,
    backend: Backend | None = None,
) -> RatingKernels:
    """Return kernels over the rows of a matrix, with all ratings of each.

    Args:
        csr: the ratings, row by row.
        device: where the kernels run.
        dtype: of the factors.
        backend: as for `RatingMatrix`.
        fixes_order: that of the kernels.
    """
    if device.type == "cpu" and backend is None:
        from cofi_dist.kernels.cpu.backend import NumbaKernels
        from cofi_dist.kernels.cpu.schedule import by_rows

        counts = np.diff(csr.indptr)
        return NumbaKernels(by_rows(counts), csr, len(counts), dtype)
    kernels = (backend or device_backend(device))(csr, device)
    kernels.fixes_order = fixes_order
    return kernels


def _numba_item_kernels(
    csr: AnyCsr, num_items: int, blocks: ReductionBlocks | None, dtype: torch.dtype
) -> RatingKernels:
    """Return the kernels by item on a CPU; without blocks, each item's ratings are together."""
    from cofi_dist.kernels.cpu.backend import NumbaKernels
    from cofi_dist.kernels.cpu.schedule import by_tiles, ratings_of_tiles, tiles_of_blocks

    tiles = [[slice(0, len(csr.indices))]]
    if blocks is not None:
        tiles = ratings_of_tiles(csr.indptr, tiles_of_blocks(csr.indptr, blocks.users))
    subtrees = (range(1),) if blocks is None else blocks.subtrees
    segments, place = by_tiles(csr.indices, num_items, tiles, subtrees)
    by_item = reordered(csr, place, segments.indptr)
    return NumbaKernels(segments, by_item, num_items, dtype)


def kernels_of_items(
    csr: AnyCsr, num_items: int, blocks: ReductionBlocks, device: torch.device, backend: Backend
) -> RatingKernels:
    """Return kernels that sum each item's ratings, block by block of users if their order is fixed."""
    if not blocks.fixes_order:
        return backend(transposed(csr, num_items), device)
    from cofi_dist.kernels.cuda.block_kernels import BlockKernels

    of_blocks = []
    for block in blocks.users:
        by_item = transposed(of_users(csr, block), num_items)
        indices = by_item.indices + np.int32(block.start)  # users are counted from the rank's first one
        of_blocks.append(backend(by_item._replace(indices=indices), device))
    return BlockKernels(of_blocks, blocks.subtrees)


def of_users(csr: AnyCsr, users: UserRange) -> AnyCsr:
    """Return the ratings of some of the users."""
    indptr = csr.indptr[users.start : users.stop + 1]
    ratings = slice(int(indptr[0]), int(indptr[-1]))
    columns = {name: getattr(csr, name) for name in ("indices", "values", "weights") if hasattr(csr, name)}
    part = {name: column[ratings] for name, column in columns.items() if np.ndim(column)}
    return csr._replace(indptr=indptr - indptr[0], **part)


def device_backend(device: torch.device) -> Backend:
    """Return the fastest back end for a device other than a CPU."""
    if device.type == "cuda" and not triton_fault():
        from cofi_dist.kernels.cuda.backend import TritonKernels  # Triton is not installed everywhere

        return TritonKernels
    return TorchKernels


@cache
def triton_fault() -> str:
    """Return why Triton, which comes with torch for CUDA on Linux, can't be used here; "" if it can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    try:
        from triton.runtime import driver  # its driver is built on first use, by a C compiler

        driver.active.get_current_target()
    except Exception as error:  # its errors have no common base class
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""


def transposed(csr: AnyCsr, num_items: int) -> AnyCsr:
    """Return the ratings item by item; an item's ratings stay in the order of users."""
    from cofi_dist.kernels.cpu.counting_sort import sort_by_row

    place = np.empty(len(csr.indices), np.int64)
    indptr = sort_by_row(csr.indices, 0, len(csr.indices), num_items, place)
    return reordered(csr, place, indptr)


def reordered(csr: AnyCsr, place: NDArray[np.integer], indptr: Index) -> AnyCsr:
    """Return the ratings with each in its place in another order, in which `indices` are the users."""
    users = np.empty(len(place), np.int32)
    num_users = len(csr.indptr) - 1
    for start in range(0, num_users, USERS_AT_ONCE):
        stop = min(start + USERS_AT_ONCE, num_users)
        counts = np.diff(csr.indptr[start : stop + 1])
        ratings = slice(csr.indptr[start], csr.indptr[stop])
        users[place[ratings]] = np.repeat(np.arange(start, stop, dtype=np.int32), counts)
    moved = columns_mapped(csr, lambda column: _moved(column, place))
    return moved._replace(indptr=indptr, indices=users)


def columns_mapped(csr: AnyCsr, change: Callable[[FloatArray], FloatArray]) -> AnyCsr:
    """Return the ratings with changed columns of values and weights; a number stands for equal ones."""
    if isinstance(csr, Csr):
        return csr._replace(values=change(csr.values))
    values, weights = (
        change(column) if isinstance(column, np.ndarray) else column for column in (csr.values, csr.weights)
    )
    return csr._replace(values=values, weights=weights)


def _moved(column: FloatArray, place: NDArray[np.integer]) -> FloatArray:
    """Return a column with each entry in its place."""
    moved = np.empty_like(column)
    moved[place] = column
    return moved
