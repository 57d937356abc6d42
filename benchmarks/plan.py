"""One rank of many for real: its memory and its seconds, beside the plan's.

    python -m benchmarks.plan --ratings 1e9 --users 2e7 --items 1e6 --features 128 --world-size 64 --rank 0
        [--bandwidth 12.5e9] [--latency 1e-4] [--epochs 4] [--times 2.8,0.084,1.06]
        [--optimizers adam,als] [--kept replicated,sharded]

Makes the ratings of that rank's users only, and runs epochs of Adam and sweeps of ALS on them, by the
trainer and the optimisers as they are, X replicated and sharded, each in a process of its own. There are no
other ranks: what they would send is made up, and the time of every message is **modelled**, as latency +
bytes / bandwidth, less the work that is done meanwhile. Nothing is slept.

Memory is the process's peak, beside `cofi_dist.training.memory_plan`'s. Seconds are those of the processor,
of one thread, so that other work beside it matters little: the median of an epoch without the first and the
last, whose costs are printed; beside those of the formula in docs/scaling.md, with
the times that benchmarks.model has fitted to small runs of one rank.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.machine import machine
from benchmarks.model import Model
from benchmarks.rank import peak
from benchmarks.stand_in import Clock, ModelledComm, OneShard
from cofi_dist.config import Config
from cofi_dist.data.sources.split_on_load import SplitOnLoad
from cofi_dist.run.log import NullLog
from cofi_dist.sharding.share import Share
from cofi_dist.training.build import build_trainer
from cofi_dist.training.memory_plan import plan_memory
from cofi_dist.training.problem import load_problem
from cofi_dist.training.state import State

ALS_STEPS = 3
HEADS = (
    *("", "peak, GB", "the plan, GB", "computing, s", "sent, GB", "messages, modelled, s"),
    *("of which waited for, s", "an epoch, s", "the formula, s", "start, s"),
)


@dataclass(frozen=True)
class Settings:
    """Which rank of which problem is run, and how."""

    ratings: int
    users: int
    items: int
    features: int
    world_size: int
    rank: int
    bandwidth: float
    latency: float
    epochs: int
    optimizer: str = "adam"
    kept: str = "replicated"

    def config(self) -> Config:
        """Costs are printed in the first epoch and the last."""
        shape = {"num_users": self.users, "num_items": self.items, "num_ratings": self.ratings}
        train = {"optimizer": self.optimizer, "items": self.kept, "epochs": self.epochs, "lr": 0.01}
        return Config.model_validate(
            {
                "data": {"synthetic": shape},
                "model": {"num_features": self.features},
                "train": train | {"log_every": self.epochs, "init": "counter"},
                "run_dir": "none",
                "device": "cpu",
            }
        )

    def share(self) -> Share:
        """Of the rank; only its own users are made up."""
        return replace(
            Share.even(self.users, self.items, self.ratings, self.world_size, on_one_machine=False),
            rank=self.rank,
        )


@dataclass
class Epochs(NullLog):
    """Seconds of each epoch, and what its messages take."""

    clock: Clock
    seconds: list[float] = field(default_factory=list)
    messages: list[Clock] = field(default_factory=list)
    _last: float = 0.0

    def on_start(self, cost: float, epoch: int) -> None:
        self._begin()

    def after_step(self, state: State) -> None:
        self.seconds.append(time.process_time() - self._last)
        self.messages.append(replace(self.clock))
        self._begin()

    def finish(self, state: State) -> None:
        """Nothing is left to do."""

    def _begin(self) -> None:
        self.clock.sent = self.clock.seconds = self.clock.waited = 0.0
        self._last = time.process_time()


def run_rank(settings: Settings) -> dict[str, Any]:
    """What is measured of one rank, in this process."""
    torch.set_num_threads(1)
    s = settings
    comm = ModelledComm(s.world_size, s.rank, s.bandwidth, s.latency)
    source = SplitOnLoad(OneShard(s.users, s.items, s.ratings, s.world_size, s.rank), {})
    start = time.process_time()
    with patch("cofi_dist.training.problem.open_source", return_value=source):
        problem, shard = load_problem(s.config(), Path("none"), torch.device("cpu"), comm)
    trainer = build_trainer(problem, shard, comm)
    del shard
    started = time.process_time() - start
    epochs = Epochs(comm.clock)
    trainer.run(epochs, epochs)
    middle = slice(1, -1)
    return {
        "peak": peak(),
        "start": started,
        "seconds": median(epochs.seconds[middle]),
        "ratings": int(problem.user_counts.sum()),
        "sent": epochs.messages[1].sent,
        "modelled": epochs.messages[1].seconds,
        "waited": epochs.messages[1].waited,
    }


def in_a_process(settings: Settings) -> dict[str, Any]:
    """The same, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.plan", "--one", json.dumps(asdict(settings))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def planned_seconds(model: Model, s: Settings) -> float:
    """Of an epoch or a sweep, by the formula of docs/scaling.md, with the network's bandwidth."""
    network = replace(model, latency=s.latency, byte=1 / s.bandwidth)
    size = s.ratings, s.items, s.users, s.features, s.world_size
    if s.optimizer == "adam":
        return network.epoch(*size, is_sharded=s.kept == "sharded")
    return network.sweep(*size, steps=ALS_STEPS)


def line(settings: Settings, model: Model, seen: dict[str, Any]) -> str:
    """Of the table."""
    plan = plan_memory(settings.config(), settings.share())
    off = 100 * (plan.peak / seen["peak"] - 1)
    seconds = seen["seconds"] + seen["waited"]
    said = planned_seconds(model, settings)
    cells = [
        f"{settings.optimizer}, {settings.kept}",
        f"{seen['peak'] / 1e9:.2f}",
        f"{plan.peak / 1e9:.2f} ({off:+.0f} %)",
        f"{seen['seconds']:.2f}",
        f"{seen['sent'] / 1e9:.2f}",
        f"{seen['modelled']:.2f}",
        f"{seen['waited']:.2f}",
        f"{seconds:.2f}",
        f"{said:.2f} ({100 * (said / seconds - 1):+.0f} %)",
        f"{seen['start']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("ratings", 1e9),
        ("users", 2e7),
        ("items", 1e6),
        ("bandwidth", 12.5e9),
        ("latency", 1e-4),
    ):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name, number in (("features", 128), ("world-size", 64), ("rank", 0), ("epochs", 4)):
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument(
        "--times",
        default="2.8,0.084,1.06",
        help="ns a rating, a feature of it, and a parameter: by benchmarks.model",
    )
    parser.add_argument("--optimizers", default="adam,als")
    parser.add_argument("--kept", default="replicated,sharded", help="how X is")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Each optimiser and each way to keep X, in turn."""
    args = parse()
    if args.one:
        print(json.dumps(run_rank(Settings(**json.loads(args.one)))))
        return
    settings = Settings(
        ratings=int(args.ratings),
        users=int(args.users),
        items=int(args.items),
        features=args.features,
        world_size=args.world_size,
        rank=args.rank,
        bandwidth=args.bandwidth,
        latency=args.latency,
        epochs=args.epochs,
    )
    print(f"{machine()}; one thread")
    print(
        f"rank {args.rank} of {args.world_size}: {settings.ratings:,} ratings, {settings.users:,} users,"
        f" {settings.items:,} items, {settings.features} features; messages are modelled:"
        f" {1e6 * args.latency:.0f} us + bytes / {args.bandwidth / 1e9:.1f} GB/s; the formula has"
        f" {args.times} ns\n",
        flush=True,
    )
    model = Model(*(1e-9 * float(time) for time in args.times.split(",")))
    print("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS))
    for optimizer in args.optimizers.split(","):
        for kept in args.kept.split(","):
            one = replace(settings, optimizer=optimizer, kept=kept)
            print(line(one, model, in_a_process(one)), flush=True)


if __name__ == "__main__":
    main()
