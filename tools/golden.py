"""Golden runs: a small problem's costs and final tensors, bit for bit, by kind of hardware.

    python -m tools.golden             what differs from the figures kept in tests/parity/golden.json
    python -m tools.golden --write     keep the figures of this machine; those of other kinds are older and go
    python -m tools.golden --add       keep them beside those of other kinds, of the same source

A change of the figures is a change in numerics: say in CHANGELOG.md what changed, and why.
"""

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import torch

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.model import Model
from cofi_dist.run.train import train
from cofi_dist.system.hardware import hardware_and_versions

FILE = Path(__file__).parents[1] / "tests" / "parity" / "golden.json"
CONFIG = """
data: {synthetic: {num_users: 150, num_items: 400, num_ratings: 6000, seed: 3}, validation: {}}
model: {num_features: 13, item_bias: true}
train: {epochs: 20, log_every: 1, lr: 0.01, lambda_power: 0.4, lambda_b: 0.3}
validation: {every: 10}
"""
CASES = {
    "notebook": ["train.cost=dense", "train.lambda_power=0", "train.lambda_b=0", "model.item_bias=false"],
    "adam, fast": [],
    **{
        f"{optimizer}, {dtype}": [
            "train.reduction=invariant",
            f"train.optimizer={optimizer}",
            f"train.dtype={dtype}",
        ]
        for optimizer in ("adam", "als")
        for dtype in ("float32", "float64")
    },
}
Figures = dict[str, list[str]]


def key() -> str:
    """The kind of hardware and libraries that the figures belong to."""
    return ", ".join(f"{name} {what}" for name, what in hardware_and_versions(torch.device("cpu")).items())


def figures_of(run_dir: Path) -> Figures:
    """Costs by epoch, as C writes floats in hexadecimal, and checksums of the factors."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    costs = [float(line["cost"]).hex() for line in lines if "cost" in line]
    factors = Model.load(run_dir).factors.by_name
    sums = {name: hashlib.sha256(t.contiguous().numpy().tobytes()).hexdigest() for name, t in factors.items()}
    return {"cost": costs, **{name: [digest] for name, digest in sums.items()}}


def run_all(folder: Path) -> dict[str, Figures]:
    """The figures of every case, on one process."""
    (folder / "c.yaml").write_text(CONFIG)
    found = {}
    for k, (case, overrides) in enumerate(CASES.items()):
        run_dir = folder / f"run{k}"
        train(folder / "c.yaml", [*overrides, f"run_dir={run_dir}"], SoloComm(), quiet=True)
        found[case] = figures_of(run_dir)
    return found


def differences(got: dict[str, Figures], want: dict[str, Figures]) -> list[str]:
    """A line for each figure that is not the kept one."""
    lines = []
    names = dict.fromkeys((case, name) for side in (want, got) for case in side for name in side[case])
    for case, name in names:
        values, kept = got.get(case, {}).get(name), want.get(case, {}).get(name)
        if kept == values:
            continue
        if values is None:
            lines.append(f"{case}: {name}: is no longer there")
            continue
        if kept is None or name != "cost" or len(kept) != len(values):
            lines.append(f"{case}: {name}: not the kept {'figures' if kept else 'ones: there are none'}")
            continue
        pairs = [(float.fromhex(a), float.fromhex(b)) for a, b in zip(values, kept, strict=True)]
        first = next(epoch for epoch, (a, b) in enumerate(pairs, 1) if a != b)
        worst = max(abs(a / b - 1) for a, b in pairs)
        lines.append(f"{case}: cost: first in epoch {first}; by {worst:.2g} of it at most")
    return lines


def main() -> None:
    """Prints the differences; exit code 1 where there are some, unless they are written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--add", action="store_true")
    args = parser.parse_args()
    write = args.write or args.add
    torch.set_num_threads(1)  # the notebook's own sums depend on it
    with tempfile.TemporaryDirectory() as folder:
        got = run_all(Path(folder))
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    found = differences(got, kept.get(key(), {}))
    print(key(), *found or ["all figures are the kept ones"], sep="\n")
    if write:
        others = kept if args.add else {}
        FILE.write_text(json.dumps({**others, key(): got}, indent=1, sort_keys=True) + "\n")
    sys.exit(1 if found and not write else 0)


if __name__ == "__main__":
    main()
