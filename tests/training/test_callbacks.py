"""When a trainer calls its callback."""

import pytest

from cofi_dist.config import TrainSection
from cofi_dist.training.state import State
from tests.support.problems import random_factors
from tests.support.trainers import Recorder, make_cost, make_trainer


class Calls:
    """Notes every call, and raises in one of them."""

    def __init__(self, raises_at: int | None = None) -> None:
        self.calls: list[tuple[str, int]] = []
        self._raises_at = raises_at

    def after_step(self, state: State) -> None:
        self.calls.append(("step", state.epoch))
        if state.epoch == self._raises_at:
            raise InterruptedError

    def finish(self, state: State) -> None:
        self.calls.append(("finish", state.epoch))


def test_it_is_called_after_every_step_and_at_the_end() -> None:
    callback = Calls()
    trainer = make_trainer(make_cost(), random_factors(8, 6, 3), TrainSection(epochs=3, lr=0.01))
    trainer.run(Recorder(), callback)
    assert callback.calls == [("step", 1), ("step", 2), ("step", 3), ("finish", 3)]
    trainer.run(Recorder(), callback)
    assert callback.calls[4:] == [("finish", 3)], "nothing is left to do"


def test_what_it_raises_ends_the_run() -> None:
    callback, heard = Calls(raises_at=2), Recorder()
    trainer = make_trainer(make_cost(), random_factors(8, 6, 3), TrainSection(epochs=5, lr=0.01))
    with pytest.raises(InterruptedError):
        trainer.run(heard, callback)
    assert callback.calls == [("step", 1), ("step", 2)]
    assert trainer.state.epoch == 2
