"""A model of an epoch's seconds: fitted on small runs, checked on larger ones, used to plan.

    python -m benchmarks.model

An epoch of Adam on R ranks of one thread, N ratings, M items, U users, K features:

    alone   = N / R (a + b K) + c (M + U / R) K
    sum     = d + 2 (R - 1) / R 4 M K / B
    an epoch = alone + [R > 1] max(0, sum - users)      users = N / 2R (a + b K) + c U / R K

a, b: reading a rating on both sides, and a feature of it; c: a parameter's Adam step; d: the sum's latency;
B: its bytes/s. dX is summed while the users' side is read and stepped: what takes longer is waited for.
a, b and c are fitted on one rank, d and B on two with next to no ratings; what is printed as checked was not
fitted on. The plan for GPUs takes the bytes that an epoch moves over the memory's bandwidth, and of that the
part that benchmarks.gpu saw on an H200; of the plan itself nothing was measured.
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
    """The letters of the formula above; B is 1 / `byte`."""

    a: float
    b: float
    c: float
    d: float = 0.0
    byte: float = 0.0

    def epoch(self, N: float, M: float, U: float, K: int, R: int) -> float:
        """Seconds."""
        reading = N / R * (self.a + self.b * K)
        alone = reading + self.c * (M + U / R) * K
        beside = reading / 2 + self.c * U / R * K
        return alone if R == 1 else alone + max(0.0, self.d + sent(M, K, R) * self.byte - beside)


def sent(M: float, K: int, R: int) -> float:
    """Bytes that a rank sends to sum dX."""
    return 2 * (R - 1) / R * 4 * M * K


def measure(N: int, M: int, K: int, R: int) -> tuple[float, float]:
    """Seconds of an epoch, the median of two runs; and of its sums over the ranks."""
    case = Case("", Settings("adam", round(N * USERS_A_RATING), M, N, K, 12), R)
    for _ in range(2):
        run(case)
    seconds = median(case.seconds)
    return seconds, seconds * median(case.shares) / 100


def fit() -> Model:
    """On one rank, and on the sums of two."""
    rows = [(N, N * K, (M + N * USERS_A_RATING) * K) for N, M, K in FITTED]
    a, b, c = _least(rows, [measure(N, M, K, 1)[0] for N, M, K in FITTED])
    rows_2 = [(1.0, sent(M, K, 2)) for _, M, K in SUMMED]
    d, byte = _least(rows_2, [measure(N, M, K, 2)[1] for N, M, K in SUMMED])
    return Model(a, b, c, d, byte)


def _least(rows: Sequence[tuple[float, ...]], seconds: list[float]) -> NDArray[np.float64]:
    """Least squares of the relative differences; nothing takes less than no time."""
    A, y = np.array(rows), np.array(seconds)
    found: NDArray[np.float64] = nnls(A / y[:, None], np.ones(len(y)))[0]
    return found


def plan() -> Iterator[str]:
    """Lines of the table; the bytes moved are those of benchmarks.gpu, five numbers a parameter are held."""
    for what, (N, M, U, K, worlds) in PLANS.items():
        for R in worlds:
            moved = (8 * N / R * K + 24 * N / R + 36 * (M + U / R) * K) / (MEMORY * PART)
            summed = sent(M, K, R) / LINK if R > 1 else 0.0
            waited = max(0.0, summed - moved / 2)
            held = (16 * N / R + 20 * (M + U / R) * K) / 1e9
            share = 100 * waited / (moved + waited)
            yield f"| {what} | {R} | {moved:.3g} | {summed:.3g} | {waited:.3g} ({share:.0f} %) | {held:.3g} |"


def main() -> None:
    """Fits, checks, plans."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(f"{machine()}; ranks of one thread\n", flush=True)
    model = fit()
    print(f"a {1e9 * model.a:.1f} ns, b {1e9 * model.b:.3f} ns, c {1e9 * model.c:.2f} ns,", end=" ")
    print(f"d {1e3 * model.d:.2f} ms, B {1e-9 / model.byte:.2f} GB/s\n", flush=True)
    print("| ratings | items | features | ranks | measured, s | the model, s | off by |")
    print("|---|---|---|---|---|---|---|")
    for N, M, K, R in CHECKED:
        seen, said = measure(N, M, K, R)[0], model.epoch(N, M, N * USERS_A_RATING, K, R)
        off = 100 * (said / seen - 1)
        print(f"| {N:,} | {M:,} | {K} | {R} | {seen:.4f} | {said:.4f} | {off:+.0f} % |", flush=True)
    print(
        "\n| planned, not measured | H100s | s an epoch, moving | s of sums | of which waited for | GB each |"
    )
    print("|---|---|---|---|---|---|")
    print("\n".join(plan()))


if __name__ == "__main__":
    main()
