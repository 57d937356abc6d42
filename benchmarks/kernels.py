"""A full-batch gradient in every way that was thought of, on the same ratings: what is kept, and what lost.

    python -m benchmarks.kernels [--repeats 5] [--ratings 10000000] [--threads 2]

dX, dW and db of the error term, 100 features, float32: on ml-latest-small where COFI_DIST_DATA names its
folder (else on ratings of its shape), and on made-up ratings of MovieLens 10M's. All in turn in one process;
the largest difference from the kept one's dX, by its largest entry, says whether it is the same function.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from unittest import mock

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from benchmarks.epoch import CPU, NUM_FEATURES, load
from benchmarks.gpu import load as made_up
from benchmarks.machine import machine, spread
from cofi_dist.cost.sparse import SparseCost, build_rating_matrix
from cofi_dist.data.ratings import Ratings
from cofi_dist.data.shard import UserShard
from cofi_dist.factors import Factors
from cofi_dist.kernels.cpu import schedule
from cofi_dist.kernels.cpu.jit import match_torch_threads
from cofi_dist.kernels.rating_matrix import RatingMatrix
from cofi_dist.kernels.torch_ops.backend import TorchKernels
from cofi_dist.kernels.torch_ops.primitives import pair_dot, weighted_row_sum
from cofi_dist.sharding.ranges import offsets_from_counts
from cofi_dist.training.draw import draw_factors

Gradient = Callable[[], tuple[Tensor, ...]]


class Sides:
    """The ratings in both orders, as torch has them."""

    def __init__(self, shard: UserShard) -> None:
        user, item = shard.ratings.user, shard.ratings.item
        order = np.argsort(item, kind="stable")
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        self.item, self.user, self.by_user, self.item_by_user = (
            torch.from_numpy(np.ascontiguousarray(a, np.int32))
            for a in (item[order], user[order], back, item)
        )
        counts = np.bincount(item, minlength=shard.num_items), np.bincount(user, minlength=len(shard.users))
        self.item_start, self.user_start = (
            torch.from_numpy(offsets_from_counts(n).astype(np.int32)) for n in counts
        )
        self.value = torch.from_numpy(shard.centred(np.float32)[order])

    def gradient(
        self, f: Factors, dots: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    ) -> tuple[Tensor, ...]:
        """By these dot products, and embedding_bag for the sums."""
        err = dots(f.X, f.W, self.item, self.user) + f.b[0].index_select(0, self.user) - self.value
        dX = weighted_row_sum(err, f.W, self.user, self.item_start)
        err = err.index_select(0, self.by_user)
        dW = weighted_row_sum(err, f.X, self.item_by_user, self.user_start)
        return dX, dW, torch.segment_reduce(err, "sum", offsets=self.user_start.long())


def by_csr(shard: UserShard, f: Factors) -> Gradient:
    """Torch's CSR matrices, MKL's underneath: a sampled product, then two sparse by dense ones."""
    sides = Sides(shard)
    ones = torch.zeros(len(sides.value))
    size = shard.num_items, len(shard.users)
    by_item = torch.sparse_csr_tensor(sides.item_start, sides.user, ones, size)
    values = sides.value - f.b[0].index_select(0, sides.user)

    def gradient() -> tuple[Tensor, ...]:
        dots = torch.sparse.sampled_addmm(by_item, f.X, f.W.T.contiguous(), beta=0.0)
        err = dots.values() - values
        dX = torch.sparse_csr_tensor(sides.item_start, sides.user, err, size) @ f.W
        err = err.index_select(0, sides.by_user)
        dW = torch.sparse_csr_tensor(sides.user_start, sides.item_by_user, err, size[::-1]) @ f.X
        return dX, dW, torch.segment_reduce(err, "sum", offsets=sides.user_start.long())

    return gradient


@njit(parallel=True, fastmath=True, nogil=True)
def _plain(start, other, value, P, offset, Z, z, out, out_b):  # type: ignore[no-untyped-def]
    for r in prange(len(start) - 1):
        for n in range(start[r], start[r + 1]):
            q = other[n]
            e = z[r] + offset[q] - value[n]
            for k in range(P.shape[1]):
                e += P[q, k] * Z[r, k]
            for k in range(P.shape[1]):
                out[r, k] += e * P[q, k]
            out_b[r] += e


def by_plain_loops(shard: UserShard, f: Factors) -> Gradient:
    """The same as the kept ones, as one would write them with numba."""
    sides, X, W, b = Sides(shard), f.X.numpy(), f.W.numpy(), f.b[0].numpy()
    of_users = shard.centred(np.float32)
    c = np.zeros(len(X), np.float32)

    def gradient() -> tuple[Tensor, ...]:
        dX, dW, db, dc = np.zeros_like(X), np.zeros_like(W), np.zeros_like(b), np.zeros_like(c)
        _plain(sides.item_start.numpy(), sides.user.numpy(), sides.value.numpy(), W, b, X, c, dX, dc)
        _plain(sides.user_start.numpy(), sides.item_by_user.numpy(), of_users, X, c, W, b, dW, db)
        return torch.from_numpy(dX), torch.from_numpy(dW), torch.from_numpy(db)

    return gradient


def by_rows(cost: RatingMatrix, f: Factors) -> Gradient:
    """As the trainer does."""
    sparse = SparseCost(cost)

    def gradient() -> tuple[Tensor, ...]:
        term = sparse(f, with_cost=False)
        return term.dX[0], term.dW, term.db

    return gradient


def reordered(shard: UserShard, f: Factors) -> tuple[UserShard, Factors]:
    """Items by falling number of ratings."""
    order = np.argsort(-np.bincount(shard.ratings.item, minlength=shard.num_items), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    r = shard.ratings
    item = place[r.item].astype(np.int32)
    by = np.lexsort((item, r.user))
    return (
        UserShard.single_block(shard.users, shard.num_items, Ratings(r.user[by], item[by], r.value[by])),
        Factors(f.X[torch.from_numpy(order)].contiguous(), f.W, f.b),
    )


def ways(shard: UserShard, f: Factors) -> Iterator[tuple[str, Callable[[], Gradient]]]:
    """What is measured; the kept one first."""
    sides = Sides(shard)
    kept = build_rating_matrix(shard, CPU, torch.float32)
    yield "kept: rows in registers, prefetched, users in blocks", lambda: by_rows(kept, f)

    def untiled() -> Gradient:
        with mock.patch.object(schedule, "TILE_RATINGS", 2**40):
            return by_rows(build_rating_matrix(shard, CPU, torch.float32), f)

    if len(shard.ratings) > schedule.TILE_RATINGS:
        yield "the same, users in one block", untiled
    yield (
        "the same, items by popularity",
        lambda: by_rows(
            build_rating_matrix(reordered(shard, f)[0], CPU, torch.float32), reordered(shard, f)[1]
        ),
    )
    yield "numba, as one would write it", lambda: by_plain_loops(shard, f)

    def tensors() -> Gradient:
        return by_rows(build_rating_matrix(shard, CPU, torch.float32, backend=TorchKernels), f)

    yield "torch: chunks and embedding_bag, errors twice", tensors
    yield "torch: chunks and embedding_bag, errors kept", lambda: lambda: sides.gradient(f, pair_dot)
    compiled = torch.compile(lambda A, B, a, b: (A[a] * B[b]).sum(-1), dynamic=False)
    yield "torch.compile for the dots, embedding_bag", lambda: lambda: sides.gradient(f, compiled)

    def halved(A: Tensor, B: Tensor, a: Tensor, b: Tensor) -> Tensor:
        found: Tensor = narrow(A.bfloat16(), B.bfloat16(), a, b)
        return found

    narrow = torch.compile(lambda A, B, a, b: (A[a].float() * B[b].float()).sum(-1), dynamic=False)
    yield "the same, gathering bfloat16 for the dots", lambda: lambda: sides.gradient(f, halved)
    yield "MKL's CSR: sampled_addmm and two products", lambda: by_csr(shard, f)


def table(name: str, shard: UserShard, repeats: int) -> None:
    """Prints all ways for these ratings."""
    users, items, N = len(shard.users), shard.num_items, len(shard.ratings)
    given = {"seed": 1, "users": shard.users, "device": CPU, "dtype": torch.float32}
    f = draw_factors(items, users, NUM_FEATURES, **given)  # type: ignore[arg-type]
    print(f"\n{name}: {N:,} ratings, {users:,} x {items:,}\n")
    print(
        "| a gradient | first, s | ms, median (min to max) | million ratings/s | times the kept | dX off by |"
    )
    print("|---|---|---|---|---|---|")
    best, want, sorted_dX = 0.0, torch.zeros(0), torch.zeros(0)
    for what, make in ways(shard, f):
        try:
            start = time.perf_counter()
            gradient = make()
            dX = gradient()[0].clone()
            first = time.perf_counter() - start
            times = []
            runs = max(1, min(50, int(1 / max(1e-3, timed(gradient)))))
            for _ in range(repeats):
                start = time.perf_counter()
                for _ in range(runs):
                    gradient()
                times.append(1e3 * (time.perf_counter() - start) / runs)
        except RuntimeError as error:  # a way that a build of torch has not is a finding too
            print(f"| {what} | failed: {str(error).splitlines()[0][:80]} | | | | |")
            continue
        if not best:
            best, want = median(times), dX
        ordered = dX.abs().sum(1).sort().values, want.abs().sum(1).sort().values
        sorted_dX = ordered[0] - ordered[1] if "popularity" in what else (dX - want).flatten()
        off = float(sorted_dX.abs().max() / want.abs().max())
        mid = median(times)
        print(
            f"| {what} | {first:.1f} | {spread(times)} | {N / mid / 1e3:.0f} |"
            f" {mid / best:.2f} | {off:.1e} |",
            flush=True,
        )
        del gradient


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Both sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ratings", type=int, default=10_000_000)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    match_torch_threads()
    print(f"{machine()}; {NUM_FEATURES} features, float32")
    warnings.simplefilter("ignore")  # CSR is in beta
    table(*load(), args.repeats)
    users = max(1, round(args.ratings / 143.1))
    table("made up", made_up(users, 10_677, args.ratings), args.repeats)


if __name__ == "__main__":
    main()
