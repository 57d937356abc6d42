"""Define the interface by which a run reports: `Callback`, and what its methods receive."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal


def _nothing_to_stop(_: str) -> None:
    """Do nothing: a tracker in a process of its own cannot stop the run."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Describe a run before its first step.

    Attributes:
        run_dir: directory of the run; None if nothing is kept.
        epoch: steps taken before; above 0, the run is resumed.
        config: the resolved config, by dotted key, such as `train.lambda_`.
        facts: what the config does not say, by name: version, ranks, device, num_users, num_items,
            num_ratings and the fingerprint of the ratings.
    """

    run_dir: Path | None
    epoch: int
    config: Mapping[str, Any]
    facts: Mapping[str, Any]
    request_stop: Callable[[str], None] = field(default=_nothing_to_stop, repr=False, compare=False)

    def stop(self, reason: str) -> None:
        """Stop the run before its next step, as Ctrl-C would; may be called from any thread.

        Args:
            reason: completes the message "stopped after epoch 30 by ...".
        """
        self.request_stop(reason)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Hold what is printed of an epoch.

    Attributes:
        epoch: counted from 1.
        cost: J over all ranks, before this epoch's step.
        seconds: time since training started.
        ratings_per_second: training ratings of all ranks processed per second, since training started.
        validation: figures on the held-out ratings by name, such as `rmse`; empty if none were measured.
    """

    epoch: int
    cost: float
    seconds: float
    ratings_per_second: float
    validation: Mapping[str, float]

    def scalars(self) -> dict[str, float]:
        """Return the cost and the figures by the names that trackers give them, such as `validation_rmse`."""
        return {"cost": self.cost, **with_prefix("validation_", self.validation)}


@dataclass(frozen=True, kw_only=True)
class CheckpointReport:
    """Describe a checkpoint that was saved, or could not be.

    Attributes:
        epoch: steps that the saved state had taken.
        bytes: size of all its files.
        seconds: time until it was complete.
        error: why the save failed; empty if it did not.
    """

    epoch: int
    bytes: int
    seconds: float
    error: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Describe how a run ended.

    Attributes:
        status: `stopped` if it was asked to, and can be resumed.
        message: why it was stopped, failed or was pruned by a search; else empty.
        epoch: the epoch whose factors, before its step or after the last one, are in the model; None if the
            run is not finished.
        validation: figures of the model by name; empty if it was not validated.
        model: directory of the model; None if none was saved.
    """

    status: Literal["finished", "stopped", "failed"]
    message: str = ""
    epoch: int | None = None
    validation: Mapping[str, float] = field(default_factory=dict)
    model: Path | None = None


class Callback:
    """Receive reports of a run. Subclass it, and override what is of interest.

    Rank 0 alone calls the methods, after the files of the run are written. If a method raises, the run says
    so in one line, and calls this callback no more.

    Attributes:
        synchronous: if false, the methods run on a thread of their own, one after the other, so that a slow
            one does not slow the training. If true, the training waits for each.
    """

    synchronous: ClassVar[bool] = False

    def on_start(self, run: RunFacts) -> None:
        """Learn about the run, before its first step."""

    def on_metrics(self, metrics: Metrics) -> None:
        """Receive the metrics of an epoch that is printed."""

    def on_checkpoint(self, checkpoint: CheckpointReport) -> None:
        """Learn that a checkpoint is saved, or could not be."""

    def on_end(self, outcome: Outcome) -> None:
        """Learn how the run ended; nothing is called after it."""


Report = RunFacts | Metrics | CheckpointReport | Outcome


def call(callback: Callback, report: Report) -> None:
    """Call the method of a callback that receives a report of this kind."""
    match report:
        case RunFacts():
            callback.on_start(report)
        case Metrics():
            callback.on_metrics(report)
        case CheckpointReport():
            callback.on_checkpoint(report)
        case Outcome():
            callback.on_end(report)


def method_name(report: Report) -> str:
    """Return the name of the method that receives a report of this kind."""
    names = {RunFacts: "on_start", Metrics: "on_metrics", CheckpointReport: "on_checkpoint"}
    return names.get(type(report), "on_end")


def with_prefix(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Return figures with longer names."""
    return {f"{prefix}{name}": figure for name, figure in figures.items()}
