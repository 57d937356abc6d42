"""One rank of benchmarks.ranks: trains on made-up ratings, and times its epochs and its sums.

RANK=0 WORLD_SIZE=1 python -m benchmarks.rank SETTINGS.json RESULT.json    # what benchmarks.ranks starts
"""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cofi_dist.config import Config
from cofi_dist.distributed.comm import Comm, Pairs, Reducer
from cofi_dist.distributed.rendezvous import init_comm
from cofi_dist.run.log import NullLog
from cofi_dist.training.build import build_trainer
from cofi_dist.training.metrics import EpochMetrics
from cofi_dist.training.problem import load_problem
from cofi_dist.training.state import State

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    """What a run is of: made-up ratings of this shape, or prepared ones in a directory."""

    optimizer: str
    users: int
    items: int
    ratings: int
    features: int
    epochs: int
    threads: int = 1
    reduction: str = "fast"
    prepared: str = ""
    feedback: str = "explicit"
    kind: str = "replicated"  # of items


@dataclass
class Times(NullLog):
    """What a rank measures.

    Attributes:
        epochs: seconds of each.
        sums: seconds of each epoch in sums over the ranks, waiting for the others included.
        costs: by epoch, where one was printed.
        memory: most bytes that the process has held, beside what it held before.
        peak: most bytes that it has held.
        sent: bytes that went to other ranks in each epoch.
    """

    epochs: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    costs: dict[int, float] = field(default_factory=dict)
    memory: int = 0
    peak: int = 0
    sent: list[int] = field(default_factory=list)
    _sending: int = 0
    _summing: float = 0.0
    _last: float = 0.0

    def watch(self, sums: Reducer, world_size: int) -> None:
        """Time these sums from now on, and count what they send."""
        plain, exchange, others = sums.all_reduce_, sums.exchange, world_size - 1

        def counted(gathers: Pairs, scatters: Pairs, overlap: Callable[[], None]) -> None:
            self._sending += sum(part.nbytes * others for part, _ in gathers)
            self._sending += sum(partials.nbytes * others // world_size for partials, _ in scatters)
            working = 0.0

            def work() -> None:
                nonlocal working
                start = time.perf_counter()
                overlap()
                working = time.perf_counter() - start

            start = time.perf_counter()
            exchange(gathers, scatters, work)
            self._summing += time.perf_counter() - start - working

        def timed(*tensors: Tensor, overlap: Callable[[], None] | None = None) -> None:
            """Leave out what is done in the meantime."""
            working = 0.0

            def work() -> None:
                nonlocal working
                start = time.perf_counter()
                if overlap is not None:
                    overlap()
                working = time.perf_counter() - start

            self._sending += sum(2 * tensor.nbytes * others // world_size for tensor in tensors)
            start = time.perf_counter()
            plain(*tensors, overlap=work)
            self._summing += time.perf_counter() - start - working

        sums.all_reduce_ = timed  # type: ignore[method-assign]
        sums.exchange = counted  # type: ignore[method-assign]

    def on_start(self, cost: float, epoch: int) -> None:
        self._last, self._summing, self._sending = time.perf_counter(), 0.0, 0

    def on_metrics(self, metrics: EpochMetrics) -> None:
        self.costs[metrics.epoch] = metrics.cost

    def after_step(self, state: State) -> None:
        """An epoch is done."""
        now = time.perf_counter()
        self.epochs.append(now - self._last)
        self.sums.append(self._summing)
        self.sent.append(self._sending)
        self._last, self._summing, self._sending = now, 0.0, 0

    def finish(self, state: State) -> None:
        """Nothing is left to do."""


def config_of(settings: Settings) -> Config:
    """Costs are printed every fifth epoch, so that the median epoch is one without."""
    shape = {"num_users": settings.users, "num_items": settings.items, "num_ratings": settings.ratings}
    train = {"optimizer": settings.optimizer, "epochs": settings.epochs, "log_every": 5, "lr": 0.01}
    train |= {"reduction": settings.reduction, "items": settings.kind}
    data: dict[str, Any] = {"prepared": settings.prepared} if settings.prepared else {"synthetic": shape}
    data["feedback"] = settings.feedback
    model = {"num_features": settings.features}
    return Config.model_validate(
        {"data": data, "model": model, "train": train, "run_dir": "none", "device": "cpu"}
    )


def peak() -> int:
    """The most bytes that this process has held so far; see benchmarks.memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) * 1024


def train(settings: Settings, comm: Comm) -> Times:
    """What this rank measures of a run. Collective: all ranks call it."""
    with suppress(OSError):  # else what was held at most before hides what is held now
        Path("/proc/self/clear_refs").write_text("5")  # the peak now is what is held now, see proc(5)
    times, before = Times(), peak()
    problem, shard = load_problem(config_of(settings), Path("none"), CPU, comm)
    trainer = build_trainer(problem, shard, comm)
    del shard
    times.watch(problem.reducer, comm.world_size)
    comm.barrier()
    trainer.run(times, times)
    times.peak = peak()
    times.memory = times.peak - before
    return times


def main() -> None:
    """Trains; rank 0 writes down what all of them measured."""
    settings = Settings(**json.loads(Path(sys.argv[1]).read_text()))
    torch.set_num_threads(settings.threads)
    comm = init_comm()
    train(replace(settings, users=50, items=40, ratings=500), comm)
    all_times = comm.all_gather_objects(asdict(train(settings, comm)))
    if comm.rank == 0:
        Path(sys.argv[2]).write_text(json.dumps(all_times))
    comm.close()


if __name__ == "__main__":
    main()
