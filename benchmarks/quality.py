"""Test RMSE on random 80/20 splits of ml-latest-small: two configs, the notebook's, Surprise's SVD and SVD++.

    COFI_DIST_DATA=FOLDER python -m benchmarks.quality [--seeds 3] [--epochs 15000]

All learn from the same training part and are measured on the same test part. Surprise's models have their
defaults. --epochs are those of the notebook's settings, which took 15,000.
"""

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import numpy as np
import surprise
import surprise.model_selection

from benchmarks.machine import machine
from cofi_dist.data.preparation.store import StoredRatings
from cofi_dist.data.splits import Part
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.model import Model
from cofi_dist.run.train import train
from cofi_dist.sharding.ranges import UserRange

CONFIGS = Path(__file__).parents[1] / "configs"
AVERAGE, BEST = CONFIGS / "ml-latest-small-average.yaml", CONFIGS / "ml-latest-small-best.yaml"


def ours(config: Path, folder: Path, root: str, seed: int) -> Path:
    """The directory of a run of this config on this split."""
    run_dir = folder / config.stem
    given = [f"data.root={root}", f"data.test.seed={seed}", f"run_dir={run_dir}"]
    return train(config, given, SoloComm(), quiet=True)


def rmse_of(run: Path) -> float:
    """Of a run's model on the test part."""
    model, stored = Model.load(run), StoredRatings(run / "data")
    test = stored.load(UserRange(0, stored.num_users), "test")
    users, items = (
        ids.raw.gather(rows) for ids, rows in zip(stored.ids, (test.user, test.item), strict=True)
    )
    return float(np.sqrt(np.mean((model.predict(users, items) - test.value) ** 2)))


def rmse_of_surprise(
    kind: type[surprise.SVD | surprise.SVDpp], stored: StoredRatings, folder: Path, seed: int
) -> float:
    """Of a model with its defaults on the same parts."""
    parts: tuple[Part, ...] = ("train", "test")
    for part in parts:
        ratings = stored.load(UserRange(0, stored.num_users), part)
        with (folder / f"{part}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(zip(ratings.user, ratings.item, ratings.value, strict=True))
    reader = surprise.Reader(line_format="user item rating", sep=",", rating_scale=(0.5, 5.0))
    data = surprise.Dataset.load_from_folds([(str(folder / "train.csv"), str(folder / "test.csv"))], reader)
    ((known, held_out),) = surprise.model_selection.PredefinedKFold().split(data)
    model = kind(random_state=seed)
    return float(surprise.accuracy.rmse(model.fit(known).test(held_out), verbose=False))


def timed(work: Callable[[], float]) -> tuple[float, float]:
    """What it returns, and the seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def main() -> None:
    """Prepares each split once, trains all on it, prints a line a split and the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=15_000)
    args = parser.parse_args()
    root = os.environ.get("COFI_DIST_DATA", "")
    if not (Path(root) / "ml-latest-small" / "ratings.csv").exists():
        raise SystemExit("benchmarks.quality: COFI_DIST_DATA must name a folder that holds ml-latest-small")
    print(machine(), f"surprise {surprise.__version__}")
    titles = ("average config", "best config", "notebook settings", "surprise SVD", "surprise SVD++")
    print(f"{'split':>5}  " + "  ".join(f"{title:>17}" for title in titles))
    found = []
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as name:
            row = one_split(root, Path(name), seed, args.epochs)
        print(
            f"{seed:5}  " + "  ".join(f"{rmse:8.4f} ({seconds:4.0f} s)" for rmse, seconds in row), flush=True
        )
        found.append([rmse for rmse, _ in row])
    print(" mean  " + "           ".join(f"{mean(column):8.4f}" for column in zip(*found, strict=True)))


def one_split(root: str, folder: Path, seed: int, epochs: int) -> list[tuple[float, float]]:
    """RMSE and seconds of each."""
    notebook = folder / "notebook.yaml"
    notebook.write_text(
        f"data: {{name: ml-latest-small, test: {{fraction: 0.2}}}}\ntrain: {{epochs: {epochs}}}\n"
    )
    average = timed(lambda: rmse_of(ours(AVERAGE, folder, root, seed)))
    best = timed(lambda: rmse_of(ours(BEST, folder, root, seed)))
    as_notebook = timed(lambda: rmse_of(ours(notebook, folder, root, seed)))
    stored = StoredRatings(folder / BEST.stem / "data")
    of_svd = timed(lambda: rmse_of_surprise(surprise.SVD, stored, folder, seed))
    of_svdpp = timed(lambda: rmse_of_surprise(surprise.SVDpp, stored, folder, seed))
    return [average, best, as_notebook, of_svd, of_svdpp]


if __name__ == "__main__":
    main()
