"""A callback of `fit` is told of the run, on rank 0, and whatever it does, the run is the same."""

import re
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import cofi_dist
from cofi_dist.errors import ConfigError, InterruptedTrainingWarning
from cofi_dist.trackers import Callback, CheckpointReport, Metrics, Outcome, RunFacts
from tests.support.ratings_files import random_table
from tests.support.runs import metrics as printed

SETTINGS: dict[str, Any] = {
    "data": {"validation": {"by": "random", "fraction": 0.1}},
    "model": {"num_features": 4},
    "train": {"epochs": 20, "lr": 0.01, "log_every": 5},
    "validation": {"every": 10},
    "device": "cpu",
    "progress": False,
}


class Recorder(Callback):
    """Keep what it is told."""

    def __init__(self) -> None:
        self.run: RunFacts | None = None
        self.metrics: list[Metrics] = []
        self.checkpoints: list[CheckpointReport] = []
        self.ends: list[Outcome] = []

    def on_start(self, run: RunFacts) -> None:
        self.run = run

    def on_metrics(self, metrics: Metrics) -> None:
        self.metrics.append(metrics)

    def on_checkpoint(self, checkpoint: CheckpointReport) -> None:
        self.checkpoints.append(checkpoint)

    def on_end(self, outcome: Outcome) -> None:
        self.ends.append(outcome)


class SynchronousRecorder(Recorder):
    synchronous = True


@pytest.mark.parametrize("kind", [Recorder, SynchronousRecorder])
def test_it_is_told_of_all_that_is_printed_and_saved(kind: type[Recorder], tmp_path: Path) -> None:
    told = kind()
    checkpoint = {"every": 20, "resume": "auto"}
    run_dir = tmp_path / "run"
    cofi_dist.fit(random_table(), run_dir=run_dir, checkpoint=checkpoint, callbacks=[told], **SETTINGS)
    assert told.run is not None
    assert (told.run.run_dir, told.run.epoch) == (run_dir, 0)
    assert told.run.config["train.lr"] == 0.01
    assert {name: told.run.facts[name] for name in ("ranks", "device", "num_users", "num_ratings")} == {
        **{"ranks": 1, "device": "cpu", "num_users": 20},
        "num_ratings": 109,
    }
    lines = [line for line in printed(run_dir) if "cost" in line]
    assert [(each.epoch, each.cost) for each in told.metrics] == [(x["epoch"], x["cost"]) for x in lines]
    assert [each.validation.get("rmse") for each in told.metrics] == [x.get("validation_rmse") for x in lines]
    assert [each.epoch for each in told.checkpoints] == [20]
    (end,) = told.ends
    assert (end.status, end.model, end.message) == ("finished", run_dir / "model", "")
    assert "rmse" in end.validation

    again = kind()
    train = {**SETTINGS["train"], "epochs": 30}
    given = {**SETTINGS, "train": train, "checkpoint": checkpoint}
    cofi_dist.fit(random_table(), run_dir=run_dir, callbacks=[again], **given)
    assert again.run is not None
    assert again.run.epoch == 20
    assert [each.epoch for each in again.metrics] == [25, 30]


class Raiser(Callback):
    calls: ClassVar[list[str]] = []

    def on_metrics(self, metrics: Metrics) -> None:
        self.calls.append("on_metrics")
        raise ValueError("no\nroom")


class SynchronousRaiser(Raiser):
    synchronous = True


@pytest.mark.parametrize("kind", [Raiser, SynchronousRaiser])
def test_one_that_raises_is_told_once_and_switched_off(kind: type[Raiser], tmp_path: Path) -> None:
    Raiser.calls.clear()
    told = Recorder()
    cofi_dist.fit(random_table(), run_dir=tmp_path / "run", callbacks=[kind(), told], **SETTINGS)
    assert Raiser.calls == ["on_metrics"]
    lines = [x for x in (tmp_path / "run/train.log").read_text().splitlines() if x.startswith("callback ")]
    assert lines == [
        f"callback {kind.__name__}: on_metrics: ValueError: no room; it is switched off, and the run goes on"
    ]
    assert len(told.metrics) == 5


class Hanger(Callback):
    def on_metrics(self, metrics: Metrics) -> None:
        time.sleep(1000)


def test_one_that_hangs_changes_no_bits_and_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cofi_dist.trackers.group.END_SECONDS", 0.5)
    want = cofi_dist.fit(random_table(), **SETTINGS)
    got = cofi_dist.fit(random_table(), run_dir=tmp_path / "run", callbacks=[Hanger()], **SETTINGS)
    assert torch.equal(got.factors.X, want.factors.X)
    assert torch.equal(got.factors.W, want.factors.W)
    said = (tmp_path / "run/train.log").read_text()
    assert re.search(r"\ncallback Hanger: [67] reports did not get through: it is too slow, or hangs\n", said)


class Stopper(Callback):
    synchronous = True

    def on_start(self, run: RunFacts) -> None:
        self._run = run

    def on_metrics(self, metrics: Metrics) -> None:
        if metrics.epoch == 10:
            self._run.stop("the median rule")

    def on_end(self, outcome: Outcome) -> None:
        self.outcome = outcome


def test_one_may_stop_the_run() -> None:
    stopper = Stopper()
    with pytest.warns(InterruptedTrainingWarning, match="stopped after epoch 10 by the median rule"):
        model = cofi_dist.fit(random_table(), callbacks=[stopper], **SETTINGS)
    assert model.history["epoch"].to_list() == [1, 5, 10]
    assert (stopper.outcome.status, stopper.outcome.model) == ("stopped", None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Recorder, "callbacks: must be a list of cofi_dist.Callback, not "),
        ([Recorder], "is not an instance of cofi_dist.Callback"),
    ],
)
def test_what_is_no_callback_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        cofi_dist.fit(random_table(), callbacks=given, **SETTINGS)
