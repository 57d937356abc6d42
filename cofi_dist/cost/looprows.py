"""The ratings of one side's rows, for the compiled loops; those of both sides, for least squares.

Letters as in `cofi_dist.cost.rows`.
"""

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cofi_dist.cost import loops
from cofi_dist.cost.rows import Least, Rows, TensorRows, offsets, tiny_of
from cofi_dist.cost.segments import Segments, by_blocks, by_rows
from cofi_dist.cost.term import wide
from cofi_dist.data.shards import UserShard
from cofi_dist.factors import Factors

NUMPY_TYPE = {torch.float32: np.float32, torch.float64: np.float64}


class LoopRows:
    """By the compiled loops, on the CPU: a row's ratings are read once for all that is summed over them.

    Args:
        segments: which ratings are whose.
        other: row of the other side of each rating, (N,) int32.
        value: (N,).
        num_rows: R.
        dtype: of the factors.
    """

    def __init__(
        self,
        segments: Segments,
        other: NDArray[np.int32],
        value: NDArray[np.float64],
        num_rows: int,
        dtype: torch.dtype,
    ) -> None:
        self._segments, self._other = segments, other
        self._value = value.astype(NUMPY_TYPE[dtype])
        counts = np.zeros(num_rows, np.int64)
        np.add.at(counts, segments.row, np.diff(segments.start))
        self.counts = torch.from_numpy(counts).to(dtype)

    def halves(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> Tensor:
        half = np.zeros(len(Z))
        loops.halves(
            set_threads(), *self._segments.arrays, self._other, self._value, *arrays_of(P, offset, Z, z), half
        )
        return torch.from_numpy(half)

    def gradients(self, Z: Tensor, z: Tensor, P: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, out_b, half = torch.zeros_like(Z), torch.zeros_like(z), np.zeros(len(Z))
        given = set_threads(), *self._segments.arrays, self._other, self._value
        loops.gradients(*given, *arrays_of(P, offset, Z, z, out, out_b), half, None)
        return out, out_b, torch.from_numpy(half)

    def products(self, V: Tensor, v: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
        out, out_b = torch.zeros_like(V), torch.zeros_like(v)
        loops.products(set_threads(), *self._segments.arrays, self._other, *arrays_of(P, V, v, out, out_b))
        return out, out_b

    @property
    def is_whole(self) -> bool:
        """Whether each row's ratings are together."""
        return len(self._segments.block) == 2

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
        given = threads, *self._segments.arrays, self._other, self._value
        loops.solve(*given, *arrays_of(P, offset, Z, z, least.weight), settings, scratch, told)
        half, gain = torch.from_numpy(told)
        return half, gain


class RowsCost:
    """The ratings in both orders, for least squares.

    Args:
        shard: this rank's ratings.
        device: of everything.
        dtype: of the factors.
        blocked: sum the items' ratings block by block of users, which is faster but for solving whole rows.

    Attributes:
        of_users, of_items: the ratings, row by row of W and of X.
    """

    def __init__(
        self, shard: UserShard, device: torch.device, dtype: torch.dtype, *, blocked: bool = True
    ) -> None:
        user, item, value = shard.ratings.user, shard.ratings.item, shard.ratings.value
        users, items = len(shard.users), shard.num_items
        self.of_users: Rows
        self.of_items: Rows
        if device.type == "cpu":
            self.of_users = LoopRows(by_rows(shard.ratings_per_user()), int32(item), value, users, dtype)
            blocks = shard.block_ratings() if blocked else [slice(0, len(user))]
            segments, order = by_blocks(item, items, blocks)
            self.of_items = LoopRows(segments, int32(user)[order], value[order], items, dtype)
        else:
            order = np.argsort(item, kind="stable")
            self.of_users = TensorRows(user, item, value, users, dtype, device)
            self.of_items = TensorRows(item[order], user[order], value[order], items, dtype, device)

    def value(self, factors: Factors) -> Tensor:
        """Half the squared error over this rank's ratings, 0-dim float64."""
        return self.of_users.halves(factors.W, factors.b[0], factors.X, offsets(factors)).sum()

    def squared_norm(self, matrix: Tensor) -> Tensor:
        return matrix.square().sum(dtype=wide(matrix))


def arrays_of(*tensors: Tensor) -> list[NDArray[np.floating]]:
    """The same memory, for the loops."""
    return [tensor.numpy() for tensor in tensors]


def int32(index: NDArray[np.integer]) -> NDArray[np.int32]:
    """The same array where it is of that type."""
    return index.astype(np.int32, copy=False)


def set_threads() -> int:
    """Let the loops run on as many threads as torch, or as numba may have; how many these are.

    They share one OpenMP pool, whose size numba's first loop sets to its own number: torch gets its back.
    """
    of_torch = torch.get_num_threads()
    threads = min(of_torch, int(numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(threads)
    if torch.get_num_threads() != of_torch:
        torch.set_num_threads(of_torch)
    return threads
