"""Lists of 10 for all users, own items left out, beside those of implicit, of the same made-up factors.

    python -m benchmarks.lists [--users 69878] [--items 10677] [--features 64] [--threads 2] [--repeats 5]

Each call has a process of its own, in turns: the first users' lists are made once before, and loading the
factors is not counted. Ours are tables with raw ids, as `Model.recommend_all` gives them; implicit's are
arrays of rows. implicit is called for so many users at a time, as its documents say, with one thread of
BLAS; in one call for all users, its memory would be that of all scores. Memory is the most that the process
held resident, with factors, own items and the interpreter. "agree" is the share of lists that have the same
items as ours: implicit's scores are float32. Where there is a CUDA device, our lists on it are added, and
those of implicit's GPU code if that is installed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import machine, spread

K, OWN = 10, 143
# users at a time (0: ours), and the device
WAYS = {
    "cofi_dist": (0, "cpu"),
    "implicit, 1,000 users at a time": (1_000, "cpu"),
    "implicit, 10,000 users": (10_000, "cpu"),
    "cofi_dist, CUDA": (0, "cuda"),
    "implicit, CUDA, 10,000 users": (10_000, "cuda"),
}
WARM_UP_USERS = 4_000


def draw(folder: Path, num_users: int, num_items: int, num_features: int) -> None:
    """Save factors and about OWN items of each user, popular ones more often."""
    rng = np.random.default_rng(0)
    for name, rows in (("W", num_users), ("X", num_items)):
        np.save(folder / f"{name}.npy", rng.standard_normal((rows, num_features), np.float32))
    count = num_users * OWN
    drawn = rng.integers(0, num_users, count) * num_items
    pairs = np.unique(drawn + (rng.random(count) ** 2 * num_items).astype(np.int64))
    user, item = np.divmod(pairs, num_items)
    np.save(folder / "indptr.npy", np.searchsorted(user, np.arange(num_users + 1)))
    np.save(folder / "item.npy", item.astype(np.int32))


def can_run(way: str) -> bool:
    """Tell whether a way has the device, and the library, that it needs."""
    size, device = WAYS[way]
    if device == "cpu":
        return True
    import torch

    if not size or not torch.cuda.is_available():
        return torch.cuda.is_available()
    from implicit.gpu import HAS_CUDA

    return bool(HAS_CUDA)


def ours(arrays: dict[str, NDArray[Any]], device: str) -> Any:
    """Return a function that makes the lists of the first users."""
    import polars as pl

    from cofi_dist.data.ids import IdMap
    from cofi_dist.data.ratings import Ratings
    from cofi_dist.data.sources.base import Source
    from cofi_dist.model.left_out import LeftOut
    from cofi_dist.model.recommend import recommend_all
    from cofi_dist.model.run_ratings import RunRatings
    from cofi_dist.model.scoring import Scorer
    from cofi_dist.ranking.pairs import UserItemPairs
    from cofi_dist.sharding.ranges import UserRange

    X, W, indptr, item = (arrays[name] for name in ("X", "W", "indptr", "item"))
    users, items = (IdMap(pl.Series(np.arange(len(rows)))) for rows in (W, X))

    class OwnItems:
        parts = ("train",)

        def load(self, users: UserRange, part: str) -> Ratings:
            counts = np.diff(indptr[users.start : users.stop + 1])
            own = item[indptr[users.start] : indptr[users.stop]]
            user = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
            return Ratings(user, own, np.ones(len(own)))

    scorer = Scorer(
        X=X.astype(np.float64),
        offset=np.zeros(len(X)),
        W=W,
        b=np.zeros(len(W), np.float32),
        item_counts=np.ones(len(X)),
        user_counts=np.ones(len(W)),
        unknown_offset=0.0,
        unknown_bias=0.0,
        lowest=-np.inf,
        highest=np.inf,
        users=users,
        items=items,
        is_implicit=True,
    )
    rated = RunRatings(cast("Source", OwnItems()), (users, items))
    nothing = LeftOut(np.zeros(len(X), np.bool_), UserItemPairs.none())

    def lists(num_users: int) -> NDArray[np.int64]:
        some = None if num_users == len(W) else users.raw[:num_users]
        tables = recommend_all(scorer, K, nothing, rated=rated, users=some, users_at_once=None, device=device)
        return pl.concat(tables)["item"].to_numpy().reshape(-1, K)

    return lists


def implicits(arrays: dict[str, NDArray[Any]], device: str, threads: int, users_at_once: int) -> Any:
    """Return a function that makes the lists of the first users."""
    import scipy.sparse as sp

    X, W, indptr, item = (arrays[name] for name in ("X", "W", "indptr", "item"))
    if device == "cuda":
        from implicit import gpu
        from implicit.gpu.als import AlternatingLeastSquares as OnDevice

        model = OnDevice(factors=X.shape[1])
        model.user_factors, model.item_factors = gpu.Matrix(W), gpu.Matrix(X)
    else:
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(factors=X.shape[1], num_threads=threads)
        model.user_factors, model.item_factors = W, X
    own = sp.csr_matrix((np.ones(len(item), np.float32), item, indptr), (len(W), len(X)))

    def lists(num_users: int) -> NDArray[np.int64]:
        found = []
        for start in range(0, num_users, users_at_once):
            users = np.arange(start, min(start + users_at_once, num_users))
            found.append(model.recommend(users, own[users], N=K, filter_already_liked_items=True)[0])
        return np.concatenate(found)

    return lists


def one(way: str, folder: Path, threads: int) -> None:
    """Make the lists in this process, print seconds and bytes, and save the items."""
    arrays = {name: np.load(folder / f"{name}.npy") for name in ("X", "W", "indptr", "item")}
    size, device = WAYS[way]
    lists = implicits(arrays, device, threads, size) if size else ours(arrays, device)
    lists(min(WARM_UP_USERS, len(arrays["W"])))
    start = time.perf_counter()
    items = lists(len(arrays["W"]))
    seconds = time.perf_counter() - start
    np.save(folder / f"{way}.npy", items)
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    print(seconds, int(peak) * 1024)


def main() -> None:
    """Run every way in turn, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=69_878)
    parser.add_argument("--items", type=int, default=10_677)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--way", nargs=2, metavar=("NAME", "FOLDER"), help="one way, in this process")
    args = parser.parse_args()
    if args.way:
        one(args.way[0], Path(args.way[1]), args.threads)
        return
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS if can_run(way)}
    threads = {"OMP_NUM_THREADS": str(args.threads), "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), args.users, args.items, args.features)
        for _ in range(args.repeats):
            for way, measured in found.items():
                command = [sys.executable, "-m", "benchmarks.lists", "--way", way, folder]
                command += ["--threads", str(args.threads)]
                printed = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads}
                )
                seconds, held = map(float, printed.stdout.split())
                measured.append((seconds, held))
        made = {way: np.sort(np.load(Path(folder) / f"{way}.npy")) for way in found}
    shape = f"{args.users:,} x {args.items:,} x {args.features}"
    print(f"{machine()}; {args.threads} threads, {shape}\n")
    print("| lists by | seconds | times ours | memory, GB | agree |\n|---|---|---|---|---|")
    our_times = [seconds for seconds, _ in found["cofi_dist"]]
    for way, measured in found.items():
        times = [seconds for seconds, _ in measured]
        ratios = [theirs / own for theirs, own in zip(times, our_times, strict=True)]
        most = max(held for _, held in measured) / 1e9
        agree = (made[way] == made["cofi_dist"]).all(axis=1).mean()
        print(f"| {way} | {spread(times)} | {spread(ratios)} | {most:.2f} | {agree:.2%} |")


if __name__ == "__main__":
    main()
