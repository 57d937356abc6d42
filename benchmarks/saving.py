"""What checkpoints cost at 10 million made-up ratings, saved every 10 epochs.

    python -m benchmarks.saving [--pairs 10] [--features 100]

One run saves every 20 epochs, so ten epochs with a save and ten without take turns, seconds apart: the
machine's own ups and downs, larger than the cost, strike both. A save is over within its ten epochs.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.machine import machine, spread
from benchmarks.memory import SHAPE
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.train import train


def main() -> None:
    """Trains once and prints what the saves cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--features", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config, run_dir = Path(folder, "c.yaml"), Path(folder, "run")
        config.write_text(f"data: {{synthetic: {SHAPE}}}\nmodel: {{num_features: {args.features}}}\n")
        # the first of the epochs pay for what is only done once, so the pairs begin at epoch 20
        given = [f"train.epochs={20 * args.pairs + 20}", "train.log_every=10", "checkpoint.every=20"]
        train(config, [*given, f"run_dir={run_dir}"], SoloComm(), quiet=True)
        lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    # a line is of the moment before its epoch's step, and the save comes after that step
    at = {line["epoch"]: line["seconds"] for line in lines if "cost" in line}
    pairs = [
        (at[epoch + 10] - at[epoch], at[epoch + 20] - at[epoch + 10])
        for epoch in range(20, 20 * args.pairs + 20, 20)
    ]
    saving, not_saving = zip(*pairs, strict=True)
    saves = [line["checkpoint"] for line in lines if "checkpoint" in line]
    print(machine())
    print(f"ten epochs: {spread(not_saving)} s without a save, {spread(saving)} s with one")
    print(f"overhead {100 * (median(saving) / median(not_saving) - 1):.1f} %;", end=" ")
    print(f"pair by pair {spread([100 * (a / b - 1) for a, b in pairs], 1)} %")
    copies, whole = ([each[name] for each in saves] for name in ("copy_seconds", "seconds"))
    print(f"a save: {median(each['bytes'] for each in saves) / 1e6:.0f} MB;", end=" ")
    print(f"the step waits {spread(copies, 3)} s, it is complete after {spread(whole)} s")


if __name__ == "__main__":
    main()
