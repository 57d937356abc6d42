"""Define what a caller of the trainer can hook into: progress reports, and work between two steps."""

from typing import Protocol

from cofi_dist.training.metrics import EpochMetrics
from cofi_dist.training.state import State


class ProgressListener(Protocol):
    """Receive reports on the progress of training."""

    def info(self, text: str) -> None:
        """Receive a message for the user."""
        ...

    def on_start(self, cost: float, epoch: int) -> None:
        """Receive J before the first step of this run, which follows epoch `epoch`, 0 for a new run."""
        ...

    def on_step(self, epoch: int) -> None:
        """Learn that the step of this epoch is taken."""
        ...

    def on_metrics(self, metrics: EpochMetrics) -> None:
        """Receive the metrics of an epoch that is printed, before its step is taken."""
        ...


class StepCallback(Protocol):
    """Do work between two steps, such as saving checkpoints."""

    def after_step(self, state: State) -> None:
        """Work after each step. Collective; may raise to end the run."""
        ...

    def finish(self, state: State) -> None:
        """Work after the last step. Collective."""
        ...


class NoCallback:
    """Do nothing between steps."""

    def after_step(self, state: State) -> None:
        pass

    def finish(self, state: State) -> None:
        pass
