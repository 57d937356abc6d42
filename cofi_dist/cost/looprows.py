"""The ratings of one side's rows, for the compiled loops; those of both sides, for least squares.

Letters as in `cofi_dist.cost.rows`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost import loops
from cofi_dist.cost.norms import BlockNorms
from cofi_dist.cost.rows import NUMPY_TYPE, Least, Rows, TensorRows, offsets, tiny_of
from cofi_dist.cost.segments import Segments, by_rows, by_tiles
from cofi_dist.cost.threads import set_threads
from cofi_dist.data.shards import UserShard, starts
from cofi_dist.factors import Factors


class Waiting:
    """Sums over rows' ratings, block by block, and the partial sums that wait for the rest of their branch.

    Args:
        segments: which ratings are whose.
        dtype: of the factors.
    """

    def __init__(self, segments: Segments, dtype: torch.dtype) -> None:
        self._segments, self._type = segments, NUMPY_TYPE[dtype]
        self._spare: tuple[NDArray[np.floating], ...] = ()

    def begin(self, Z: Tensor) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
        """Zeros for the sums of each branch, (T, R, K), (T, R), and for the squares of each block, (B, R)."""
        R, K = Z.shape
        if not self._spare:
            levels = self._segments.levels
            self._spare = np.empty((levels, R, K), self._type), np.empty((levels, R), self._type)
        out, out_b = Z.new_zeros(T := len(self._segments.branches), R, K), Z.new_zeros(T, R)
        return out, out_b, np.zeros((self._segments.num_blocks, R))

    @property
    def tree(self) -> tuple[NDArray[np.generic], ...]:
        """For the loops."""
        return self._segments.adds, self._segments.to, self._segments.block, *self._spare


class LoopRows:
    """By the compiled loops, on the CPU: a row's ratings are read once for all that is summed over them.

    Args:
        segments: which ratings are whose.
        other: row of the other side of each rating, (N,) int32.
        value: (N,), of the factors' dtype.
        num_rows: R.
        dtype: of the factors.
    """

    def __init__(
        self,
        segments: Segments,
        other: NDArray[np.int32],
        value: NDArray[np.floating],
        num_rows: int,
        dtype: torch.dtype,
    ) -> None:
        self._segments, self._other, self._value = segments, other, value
        self._waiting = Waiting(segments, dtype)
        counts = np.zeros(num_rows, np.int64)
        np.add.at(counts, segments.row, np.diff(segments.start))
        self.counts = torch.from_numpy(counts).to(dtype)

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        half, given = np.zeros(len(Z)), arrays_of(P, offset, Z, z)
        loops.halves(set_threads(), *self._segments.whole, self._other, self._value, *given, half)
        return torch.from_numpy(half)

    def gradients(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, out_b, half_BR = self._waiting.begin(Z)
        for branch, tiles in enumerate(self._segments.each_branch()):
            given = set_threads(), *tiles, (self._other, self._value), tuple(arrays_of(P, offset, Z, z))
            sums = *arrays_of(out[branch], out_b[branch]), half_BR
            loops.gradients(*given, sums, None, self._waiting.tree)
        return out, out_b, torch.from_numpy(half_BR)

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        out, out_b, _ = self._waiting.begin(V)
        for branch, tiles in enumerate(self._segments.each_branch()):
            given = set_threads(), *tiles, self._other, *arrays_of(P, V, v)
            loops.products(*given, *arrays_of(out[branch], out_b[branch]), self._waiting.tree)
        return out, out_b

    @property
    def is_whole(self) -> bool:
        """Whether each row's ratings are together."""
        return len(self._segments.tile) == 2

    @property
    def lists(self) -> tuple[Tensor, Tensor, Tensor]:
        assert self.is_whole
        arrays = self._segments.start, self._other, self._value
        start, other, value = (torch.from_numpy(array) for array in arrays)
        return start, other, value

    def solve(
        self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor, least: Least, mean_square: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """So many steps of conjugate gradients on every row by itself; moves Z, and z where it has biases.

        `mean_square` is that of P's columns, (K,), for the preconditioner.

        Returns:
            1/2 sum err_n^2 before, and by how much the row's part of J fell, (R,) float64 each.
        """
        told, threads = np.empty((2, len(Z))), set_threads()
        penalty_b = self._value.dtype.type(least.weight_b)
        settings = least.has_bias, penalty_b, mean_square.numpy(), steps, tiny_of(Z.dtype)
        scratch = np.empty((threads, 4, len(mean_square)), self._value.dtype)
        given = threads, *self._segments.whole, self._other, self._value
        loops.solve(*given, *arrays_of(P, offset, Z, z, least.weight), settings, scratch, told)
        half, gain = torch.from_numpy(told)
        return half, gain


class RowsCost:
    """The ratings in both orders, for least squares.

    Args:
        shard: this rank's ratings.
        device: of everything.
        dtype: of the factors.
        tiled: sum the items' ratings tile by tile of users, which is faster but for solving whole rows.

    Attributes:
        of_users, of_items: the ratings, row by row of W and of X.
        norms: of the factors.
    """

    def __init__(
        self, shard: UserShard, device: torch.device, dtype: torch.dtype, *, tiled: bool = True
    ) -> None:
        user, item = shard.ratings.user, shard.ratings.item
        users, items = len(shard.users), shard.num_items
        self.norms = BlockNorms(shard.blocks)
        self.of_users: Rows
        self.of_items: Rows
        if device.type == "cpu":
            value = shard.centred(NUMPY_TYPE[dtype])
            self.of_users = LoopRows(by_rows(shard.ratings_per_user()), int32(item), value, users, dtype)
            blocks = ratings_of_tiles(shard) if tiled else [[slice(0, len(user))]]
            segments, place = by_tiles(item, items, blocks, shard.blocks.branches)
            other = np.empty(len(user), np.int32)
            other[place] = user
            of_items = shard.centred(NUMPY_TYPE[dtype], place)
            self.of_items = LoopRows(segments, other, of_items, items, dtype)
        else:
            value, order = shard.centred(), np.argsort(item, kind="stable")
            self.of_users = TensorRows(user, item, value, users, dtype, device)
            self.of_items = TensorRows(item[order], user[order], value[order], items, dtype, device)

    def value(self, factors: Factors) -> Tensor:
        """Half the squared error over this rank's ratings, of each branch, (T,) float64."""
        half_U = self.of_users.halves(factors.W, factors.b[0], factors.X, offsets(factors))
        return self.norms.total(half_U)


def ratings_of_tiles(shard: UserShard) -> list[list[slice]]:
    """Where the ratings of each tile of each block are among the shard's."""
    ends = starts(shard.ratings_per_user())
    return [[slice(int(ends[u.start]), int(ends[u.stop])) for u in tiles] for tiles in shard.tiles()]


def arrays_of(*tensors: Tensor) -> list[NDArray[np.floating]]:
    """The same memory, for the loops."""
    return [tensor.numpy() for tensor in tensors]


def int32(index: NDArray[np.integer]) -> NDArray[np.int32]:
    """The same array where it is of that type."""
    return index.astype(np.int32, copy=False)
