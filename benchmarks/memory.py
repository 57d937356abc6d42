"""Memory and speed of a sparse run at 10 million made-up ratings, 69,878 users x 10,677 items.

    python -m benchmarks.memory [--epochs 60] [--features 100] [KEY=VALUE ...]

The run is `cofi-dist train`'s own function in a fresh process; the interpreter with its imports and
compiled loops, after a run of a hundred ratings, is measured first, and its peak is taken off. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import machine

SHAPE = "{num_users: 69878, num_items: 10677, num_ratings: 10000000}"

CHILD = """
import sys
from pathlib import Path
import torch._dynamo
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.train import train
def peak():
    # VmHWM: unlike getrusage's maximum, it does not begin with that of the parent process
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
few = "data.synthetic={num_users: 20, num_items: 30, num_ratings: 100}"
others = [text for text in sys.argv[3:] if not text.startswith(("run_dir=", "train.epochs="))]
again = [*others, few, "run_dir=" + sys.argv[2], "train.epochs=2"]
train(Path(sys.argv[1]), again, SoloComm(), quiet=True)
before = peak()
train(Path(sys.argv[1]), sys.argv[3:], SoloComm())
print(before, peak())
"""


def main() -> None:
    """Runs the child and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as train.optimizer=als")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config, run_dir = Path(folder) / "c.yaml", Path(folder) / "run"
        config.write_text(f"data: {{synthetic: {SHAPE}}}\nmodel: {{num_features: {args.features}}}\n")
        overrides = [
            f"train.epochs={args.epochs}",
            "train.log_every=10",
            f"run_dir={run_dir}",
            *args.overrides,
        ]
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(config), f"{folder}/few", *overrides],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        before, after = (int(n) for n in child.stdout.splitlines()[-1].split())
        metrics = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    last = metrics[-1]
    steady = (last["epoch"] - metrics[1]["epoch"]) / (last["seconds"] - metrics[1]["seconds"])
    print(machine())
    print(f"10,000,000 ratings, {args.features} features, {last['epoch']} epochs, cost {last['cost']:.0f}")
    print(f"interpreter and imports {before / 1e9:.2f} GB; peak {after / 1e9:.2f} GB")
    print(
        f"beside the interpreter {(after - before) / 1e9:.2f} GB, {(after - before) / 1e7:.0f} bytes a rating"
    )
    matrix = 4 * args.features * (69_878 + 10_677) / 1e7
    print(
        f"X and W are {matrix:.1f} bytes a rating; with gradients, moments and the best kept five times that"
    )
    print(f"{steady:.2f} epochs/s, {steady * 10:.1f} million ratings/s (epoch 10 to the end)")


if __name__ == "__main__":
    main()
