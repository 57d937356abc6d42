"""Define what a tracker is: a callback in a process of its own, which records a run by a library."""

import importlib
from pathlib import Path

from cofi_dist.run_layout import TRACKERS
from cofi_dist.trackers.callback import Callback, RunFacts

CLASSES = {
    "tensorboard": "cofi_dist.trackers.tensorboard_events.TensorBoardEvents",
    "mlflow": "cofi_dist.trackers.mlflow_run.MlflowRun",
    "wandb": "cofi_dist.trackers.wandb_run.WandbRun",
}


class Tracker(Callback):
    """Record a run by a library.

    Attributes:
        where: says where the run is recorded, once it has started.
    """

    where = ""

    def flush(self) -> None:
        """Record what was received so far."""


def make_tracker(name: str) -> Tracker:
    """Return the tracker of a name."""
    module, _, kind = CLASSES[name].rpartition(".")
    made: Tracker = getattr(importlib.import_module(module), kind)()
    return made


def folder_of(run: RunFacts) -> Path:
    """Return the folder in which trackers keep their files."""
    assert run.run_dir is not None
    return run.run_dir.absolute() / TRACKERS
