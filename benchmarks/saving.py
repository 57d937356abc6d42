"""What checkpoints cost: a sparse run at 10 million made-up ratings, saved every 10 epochs and not at all.

    python -m benchmarks.saving [--epochs 60] [--features 100] [--repeats 3]

The two in turn, a fresh process each; seconds from epoch 10 to the end of the last save.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import machine, spread
from benchmarks.memory import SHAPE

CHILD = """
import sys
from pathlib import Path
from cofi_dist.distributed import SoloComm
from cofi_dist.run import train
train(Path(sys.argv[1]), sys.argv[2:], SoloComm(), quiet=True)
"""


def one(folder: Path, epochs: int, features: int, every: str) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from epoch 10 to the end, and what the saves say of themselves."""
    config, run_dir = folder / "c.yaml", folder / "run"
    config.write_text(f"data: {{synthetic: {SHAPE}}}\nmodel: {{num_features: {features}}}\n")
    given = [
        f"train.epochs={epochs}",
        "train.log_every=10",
        f"run_dir={run_dir}",
        f"checkpoint.every={every}",
    ]
    subprocess.run([sys.executable, "-c", CHILD, str(config), *given], check=True)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    start = next(line["seconds"] for line in lines if line["epoch"] == 10 and "cost" in line)
    saves = [line["checkpoint"] for line in lines if "checkpoint" in line]
    return json.loads((run_dir / "result.json").read_text())["seconds"] - start, saves


def main() -> None:
    """Runs both kinds and prints what the saves cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {"null": [], "10": []}
    saves: list[dict[str, Any]] = []
    for _ in range(args.repeats):
        for every, found in seconds.items():
            with tempfile.TemporaryDirectory() as folder:
                took, written = one(Path(folder), args.epochs, args.features, every)
            found.append(took)
            saves += written
    overhead = [with_saves / without - 1 for without, with_saves in zip(*seconds.values(), strict=True)]
    print(machine())
    print(f"without checkpoints {spread(seconds['null'])} s; every 10 epochs {spread(seconds['10'])} s")
    print(f"overhead, pair by pair: {spread([100 * each for each in overhead], 1)} %")
    copies, whole = ([each[name] for each in saves] for name in ("copy_seconds", "seconds"))
    print(f"a save: {median(each['bytes'] for each in saves) / 1e6:.0f} MB;", end=" ")
    print(f"the step waits {spread(copies, 3)} s, it is complete after {spread(whole)} s")


if __name__ == "__main__":
    main()
