"""What fits on GPUs of 80 GB: the table of docs/scaling.md, by the plan of a rank's memory.

    python -m benchmarks.fits

Adam in float32, 100 ratings a user, spread evenly. A cell says how many GB each GPU takes: with X
replicated if it fits so, else sharded; `no` if it does not fit at all. A tenth of the memory is left free.
Nothing is measured here: tests hold the plan to measured memory (tests/training/test_memory_plan.py).
"""

import argparse
from itertools import product

from cofi_dist.config import Config
from cofi_dist.sharding.share import Share
from cofi_dist.training.memory_plan import plan_memory

RATINGS_A_USER = 100
GPUS, GPU_BYTES, USED = (1, 8, 64), 80e9, 0.9
SHAPES = ((1e7, 1e6), (1e8, 1e6), (1e8, 1e7), (1e9, 1e7), (1e9, 1e8))
FEATURES = (32, 128, 256)


def gigabytes(users: float, items: float, features: int, gpus: int, kept: str) -> float:
    """What a GPU takes."""
    ratings = RATINGS_A_USER * users
    shape = {"num_users": 2, "num_items": 2, "num_ratings": 1}  # what counts is in the share
    config = Config.model_validate(
        {
            "data": {"synthetic": shape},
            "model": {"num_features": features},
            "train": {"items": kept},
            "run_dir": "none",
        }
    )
    return (
        plan_memory(config, Share.even(users, items, ratings, gpus, on_one_machine=False), "cuda").peak / 1e9
    )


def cell(users: float, items: float, features: int, gpus: int) -> str:
    """Of the table."""
    for kept in ("replicated", "sharded") if gpus > 1 else ("replicated",):
        size = gigabytes(users, items, features, gpus, kept)
        if size <= USED * GPU_BYTES / 1e9:
            return f"{size:.3g}" if kept == "replicated" else f"{size:.3g} sharded"
    return "no"


def table() -> list[str]:
    """The lines of the table."""
    lines = ["| users | items | features | 1 GPU | 8 GPUs | 64 GPUs |", "|---|---|---|---|---|---|"]
    for (users, items), features in product(SHAPES, FEATURES):
        cells = " | ".join(cell(users, items, features, gpus) for gpus in GPUS)
        lines.append(f"| {users:,.0f} | {items:,.0f} | {features} | {cells} |")
    return lines


def main() -> None:
    """Prints it."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print("GB of each GPU of 80 GB; Adam, float32, 100 ratings a user\n")
    print("\n".join(table()))


if __name__ == "__main__":
    main()
