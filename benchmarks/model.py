"""Model the seconds of an epoch: fit on small runs, check on larger ones, then plan.

    python -m benchmarks.model

An epoch of Adam on P ranks of one thread, with N ratings, M items, U users and K features:

    alone    = N / P (t_rating + t_feature K) + t_parameter (M + U / P) K
    sum      = latency + 2 (P - 1) / P 4 M K / bandwidth
    an epoch = alone + [P > 1] max(0, sum - users)
    users    = N / 2P (t_rating + t_feature K) + t_parameter U / P K

t_rating and t_feature are the times to read a rating, and a feature of it, on both sides. t_parameter is
the time of a parameter's Adam step. dX is summed while the users' side is computed and stepped, and only
the rest is waited for. The three times are fitted on one rank, the latency and the bandwidth on two ranks
with next to no ratings. The runs printed as checked were not fitted on. The plan for GPUs divides the bytes
that an epoch moves by the memory's bandwidth, times the part of it that benchmarks.gpu reached on an H200.
Nothing in the plan itself was measured.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchmarks.machine import machine
from benchmarks.rank import Settings
from benchmarks.ranks import Case, run

USERS_A_RATING = 1 / 143.1
FITTED = [
    (ratings, items, features)
    for ratings, items in ((1_000_000, 10_677), (2_000_000, 20_000), (4_000_000, 10_677))
    for features in (32, 100, 200)
]
SUMMED = [(2_000, items, features) for items in (2_000, 10_677, 30_000) for features in (16, 64, 128)]
CHECKED = [
    (3_000_000, 20_000, 32, 1),
    (1_000_000, 4_000, 256, 1),
    (10_000_000, 10_677, 100, 1),
    (3_000_000, 20_000, 32, 2),
    (10_000_000, 10_677, 100, 2),
]
# an H100's memory by its data sheet, bytes/s; what part of it an epoch reached on an H200; a link between two
MEMORY, PART, LINK = 3.35e12, 0.65, 50e9
PLANS = {
    "ml-32m, 128 features": (32e6, 84_432, 200_948, 128, (1, 2, 8)),
    "a billion ratings, 128 features": (1e9, 1e6, 1e7, 128, (8, 64)),
    "100 billion ratings, 128 features": (1e11, 1e7, 1e9, 128, (64, 1024)),
}


@dataclass(frozen=True)
class Model:
    """Hold the times of the formula above, in seconds; the bandwidth is 1 / `byte`."""

    rating: float
    feature: float
    parameter: float
    latency: float = 0.0
    byte: float = 0.0

    def epoch(self, N: float, M: float, U: float, K: int, P: int, *, is_sharded: bool = False) -> float:
        """Predict the seconds of an epoch."""
        reading = N / P * (self.rating + self.feature * K)
        items = M / P if is_sharded else M
        alone = reading + self.parameter * (items + U / P) * K
        # X travels while the rest is computed; if it is replicated, only while the users' side is
        beside = reading if is_sharded else reading / 2 + self.parameter * U / P * K
        return alone if P == 1 else alone + max(0.0, self.latency + sent(M, K, P) * self.byte - beside)

    def sweep(self, N: float, M: float, U: float, K: int, P: int, steps: int) -> float:
        """Predict the seconds of a sweep of ALS: its sums have nothing to compute meanwhile."""
        reading = N / P * (self.rating + self.feature * K)
        sums = (1 + steps) * (self.latency + sent(M, K, P) * self.byte)
        # both sides' ratings are read once, and once more in each step
        return (1 + steps) * reading + (sums if P > 1 else 0.0)


def sent(M: float, K: int, P: int) -> float:
    """Bytes that a rank sends to sum dX."""
    return 2 * (P - 1) / P * 4 * M * K


def measure(N: int, M: int, K: int, P: int) -> tuple[float, float]:
    """Seconds of an epoch, the median of two runs; and of its sums over the ranks."""
    case = Case("", Settings("adam", round(N * USERS_A_RATING), M, N, K, 12), P)
    for _ in range(2):
        run(case)
    seconds = median(case.seconds)
    return seconds, seconds * median(case.shares) / 100


def fit() -> Model:
    """On one rank, and on the sums of two."""
    rows = [(N, N * K, (M + N * USERS_A_RATING) * K) for N, M, K in FITTED]
    rating, feature, parameter = _least(rows, [measure(N, M, K, 1)[0] for N, M, K in FITTED])
    rows_2 = [(1.0, sent(M, K, 2)) for _, M, K in SUMMED]
    latency, byte = _least(rows_2, [measure(N, M, K, 2)[1] for N, M, K in SUMMED])
    return Model(rating, feature, parameter, latency, byte)


def _least(rows: Sequence[tuple[float, ...]], seconds: list[float]) -> NDArray[np.float64]:
    """Least squares of the relative differences; nothing takes less than no time."""
    A, y = np.array(rows), np.array(seconds)
    found: NDArray[np.float64] = nnls(A / y[:, None], np.ones(len(y)))[0]
    return found


def plan() -> Iterator[str]:
    """Lines of the table; the bytes moved are those of benchmarks.gpu, five numbers a parameter are held."""
    for what, (N, M, U, K, worlds) in PLANS.items():
        for P in worlds:
            moved = (8 * N / P * K + 24 * N / P + 36 * (M + U / P) * K) / (MEMORY * PART)
            summed = sent(M, K, P) / LINK if P > 1 else 0.0
            waited = max(0.0, summed - moved / 2)
            held = (16 * N / P + 20 * (M + U / P) * K) / 1e9
            share = 100 * waited / (moved + waited)
            yield f"| {what} | {P} | {moved:.3g} | {summed:.3g} | {waited:.3g} ({share:.0f} %) | {held:.3g} |"


def main() -> None:
    """Fits, checks, plans."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(f"{machine()}; ranks of one thread\n", flush=True)
    model = fit()
    times = f"t_rating {1e9 * model.rating:.1f} ns, t_feature {1e9 * model.feature:.3f} ns"
    print(f"{times}, t_parameter {1e9 * model.parameter:.2f} ns,", end=" ")
    print(f"latency {1e3 * model.latency:.2f} ms, bandwidth {1e-9 / model.byte:.2f} GB/s\n", flush=True)
    print("| ratings | items | features | ranks | measured, s | the model, s | off by |")
    print("|---|---|---|---|---|---|---|")
    for N, M, K, P in CHECKED:
        seen, said = measure(N, M, K, P)[0], model.epoch(N, M, N * USERS_A_RATING, K, P)
        off = 100 * (said / seen - 1)
        print(f"| {N:,} | {M:,} | {K} | {P} | {seen:.4f} | {said:.4f} | {off:+.0f} % |", flush=True)
    print(
        "\n| planned, not measured | H100s | s an epoch, moving | s of sums | of which waited for | GB each |"
    )
    print("|---|---|---|---|---|---|")
    print("\n".join(plan()))


if __name__ == "__main__":
    main()
