"""`cost: sparse` on ml-latest-small beside the losses that the notebook printed.

    COFI_DIST_DATA=FOLDER python -m benchmarks.curve [--seeds 3] [--picture docs/notebook_curve.png]

Prints the largest deviation over the 42 printed epochs, by seed.
"""

import argparse
import csv
import json
import os
import tempfile
from pathlib import Path

from benchmarks.machine import machine
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.train import train

REFERENCE = Path(__file__).parents[1] / "tests" / "parity" / "notebook_loss.csv"


def curve(ratings: Path, seed: int) -> dict[int, float]:
    """Costs by epoch of one run to epoch 4,100."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "c.yaml"
        config.write_text(f"data: {{ratings: {ratings}}}\nrun_dir: {folder}/run\ntrain: {{epochs: 4100}}\n")
        train(config, [f"seed={seed}"], SoloComm(), quiet=True)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    return {m["epoch"]: m["cost"] for m in map(json.loads, lines)}


def draw(picture: Path, notebook: dict[int, float], curves: dict[int, dict[int, float]]) -> None:
    """Both curves on a log axis, and the deviation below them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(7, 6), sharex=True, height_ratios=[2, 1], layout="constrained"
    )
    for seed, costs in curves.items():
        top.plot(list(costs), list(costs.values()), label=f"cofi_dist, sparse, seed {seed}", linewidth=1)
        deviation = [100 * (costs[epoch] / loss - 1) for epoch, loss in notebook.items()]
        bottom.plot(list(notebook), deviation, label=f"seed {seed}", linewidth=1)
    top.plot(list(notebook), list(notebook.values()), "k.", markersize=4, label="printed by the notebook")
    top.set_yscale("log")
    top.set_ylabel("cost J")
    top.legend()
    bottom.axhline(0, color="k", linewidth=0.5)
    bottom.set_ylabel("deviation, %")
    bottom.set_xlabel("epoch")
    figure.suptitle("ml-latest-small: the notebook's curve, on the known cells only")
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Trains, compares, prints; draws where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    ratings = Path(os.environ.get("COFI_DIST_DATA", "/nowhere")) / "ml-latest-small" / "ratings.csv"
    if not ratings.exists():
        raise SystemExit("benchmarks.curve: COFI_DIST_DATA must name a folder that holds ml-latest-small")
    with REFERENCE.open() as file:
        notebook = {int(row["epoch"]): float(row["loss"]) for row in csv.DictReader(file)}
    curves = {seed: curve(ratings, seed) for seed in range(1, args.seeds + 1)}
    print(machine())
    for seed, costs in curves.items():
        worst = max(notebook, key=lambda epoch: abs(costs[epoch] / notebook[epoch] - 1))
        print(
            f"seed {seed}: {len(notebook)} epochs, largest deviation"
            f" {100 * (costs[worst] / notebook[worst] - 1):+.2f} % at epoch {worst}"
        )
    if args.picture:
        draw(args.picture, notebook, curves)


if __name__ == "__main__":
    main()
