"""The ratings in both orders, users' and items', and the error term by sums over rows' ratings.

Letters as in `cofi_dist.kernels.base`. The compiled loops are imported where they are needed: other costs,
and commands that look at what was saved, do without them.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.data import shard as shard_module
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.base import NUMPY_TYPE, RatingKernels
from cofi_dist.kernels.block_sums import BlockSums
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.sharding.ranges import offsets_from_counts


class RatingMatrix:
    """The ratings in both orders, for least squares.

    Args:
        shard: this rank's ratings.
        device: of everything.
        dtype: of the factors.
        tiled: on a CPU, sum the items' ratings tile by tile of users: faster, but for solving whole rows.

    Attributes:
        by_user, by_item: the ratings, row by row of W and of X.
        sums: over the rows of the factors.
    """

    def __init__(
        self, shard: UserShard, device: torch.device, dtype: torch.dtype, *, tiled: bool = True
    ) -> None:
        self.sums = BlockSums(shard.blocks)
        if device.type == "cpu":
            self.by_user, self.by_item = _loop_rows(shard, dtype, tiled=tiled)
        else:
            self.by_user, self.by_item = device_rows(shard, kind_for(device), device, dtype)

    def value(self, factors: Factors) -> Tensor:
        """Half the squared error over this rank's ratings, of each branch, (T,) float64."""
        half_U = self.by_user.halves(factors.W, factors.b[0], factors.X, factors.item_bias_or_zeros())
        return self.sums.sum_over_users(half_U)


def _loop_rows(shard: UserShard, dtype: torch.dtype, *, tiled: bool) -> tuple[RatingKernels, RatingKernels]:
    from cofi_dist.kernels.cpu.backend import NumbaKernels, int32, ratings_of_tiles
    from cofi_dist.kernels.cpu.schedule import by_rows, by_tiles

    user, item, kind = shard.ratings.user, shard.ratings.item, NUMPY_TYPE[dtype]
    users, items = len(shard.users), shard.num_items
    of_users = NumbaKernels(by_rows(shard.ratings_per_user()), int32(item), shard.centred(kind), users, dtype)
    blocks = ratings_of_tiles(shard) if tiled else [[slice(0, len(user))]]
    segments, place = by_tiles(item, items, blocks, shard.blocks.subtrees, shard_module.TILE_RATINGS)
    return of_users, NumbaKernels(segments, _put(user, place), shard.centred(kind, place), items, dtype)


@cache
def triton_fault() -> str:
    """Why Triton, which comes with torch for CUDA on Linux, can't be used here; empty if it can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    try:
        from triton.runtime import driver  # it is built when it is first asked, by a C compiler

        driver.active.get_current_target()
    except Exception as error:  # of no common base
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ""


def kind_for(device: torch.device) -> type[RatingKernels]:
    """Of rows, for a device that is no CPU."""
    if device.type == "cuda" and not triton_fault():
        from cofi_dist.kernels.cuda.backend import TritonKernels  # which is not everywhere

        return TritonKernels
    return TorchKernels


def device_rows(
    shard: UserShard, kind: Callable[..., RatingKernels], device: torch.device, dtype: torch.dtype
) -> tuple[RatingKernels, RatingKernels]:
    """Of users and of items, on any device."""
    from cofi_dist.kernels.cpu.counting_sort import sort_by_row

    user, item, number = shard.ratings.user, shard.ratings.item, NUMPY_TYPE[dtype]
    of_users = kind(
        offsets_from_counts(shard.ratings_per_user()),
        item.astype(np.int32, copy=False),
        shard.centred(number),
        dtype,
        device,
    )
    place = np.empty(len(user), np.int64)
    begin = sort_by_row(item, 0, len(item), shard.num_items, place)
    return of_users, kind(begin, _put(user, place), shard.centred(number, place), dtype, device)


def _put(numbers: NDArray[np.integer], place: NDArray[np.integer]) -> NDArray[np.int32]:
    """Each at its place."""
    put = np.empty(len(numbers), np.int32)
    put[place] = numbers
    return put
