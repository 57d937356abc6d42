"""Who hears of the progress of training, and what is done between two steps."""

from typing import Protocol

from cofi_dist.training.metrics import EpochMetrics
from cofi_dist.training.state import State


class ProgressListener(Protocol):
    """Who hears of the progress."""

    def info(self, text: str) -> None: ...

    def on_start(self, cost: float, epoch: int) -> None: ...

    def on_step(self, epoch: int) -> None: ...

    def on_metrics(self, metrics: EpochMetrics) -> None: ...


class StepCallback(Protocol):
    """What is done between two steps, such as saving checkpoints."""

    def after_step(self, state: State) -> None:
        """A step is taken. Collective; may raise to end the run."""
        ...

    def finish(self, state: State) -> None:
        """The last step is taken. Collective."""
        ...


class NoCallback:
    """Nothing is done between steps."""

    def after_step(self, state: State) -> None:
        pass

    def finish(self, state: State) -> None:
        pass
