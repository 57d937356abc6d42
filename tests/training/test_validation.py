"""Validation while training: exact over ranks, and what the whole of `train` does with it."""

import contextlib
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cofi_dist.config import DataSection, SplitSection
from cofi_dist.data.sources.open import prepare_source
from cofi_dist.data.sources.split_on_load import SplitOnLoad
from cofi_dist.data.sources.synthetic import SyntheticRatings
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import CofiError, ConfigError, RunError
from cofi_dist.model import Model
from cofi_dist.run.train import train
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks
from cofi_dist.training.prediction_errors import PredictionErrors
from cofi_dist.training.validation import Validation
from tests.support.problems import random_ratings

CPU = torch.device("cpu")


def test_is_due_every_nth_epoch() -> None:
    validation = Validation(PredictionErrors(random_ratings(2, 3, 4), np.zeros(3), (0.5, 5.0), CPU), every=3)
    assert [epoch for epoch in range(1, 10) if validation.is_due(epoch)] == [3, 6, 9]


TINY = """
data: {synthetic: {num_users: 60, num_items: 80, num_ratings: 1500}, validation: {fraction: 0.2}}
model: {num_features: 5}
train: {epochs: 300, lr: 3.0e-2, log_every: 100, dtype: float64, lambda_: 3.0}
validation: {every: 20}
"""


def _train(comm: Comm, file: Path, overrides: list[str]) -> tuple[str, str]:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            train(file, overrides, comm)
        except CofiError as error:
            kind = next(kind for kind in (ConfigError, RunError) if isinstance(error, kind))
            return out.getvalue(), f"{kind.__name__} {error.shared} {error}"
    return out.getvalue(), err.getvalue()


def run(tmp: Path, *overrides: str, ranks: int = 1, config: str = TINY) -> tuple[Path, list[tuple[str, str]]]:
    (tmp / "tiny.yaml").write_text(config)
    run_dir = tmp / f"run-{ranks}"
    said = run_ranks(ranks, _train, tmp / "tiny.yaml", [*overrides, f"run_dir={run_dir}"], tmp=tmp)
    return run_dir, said


def metrics(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def test_any_world_size_validates_stops_and_restores_alike(tmp_path: Path) -> None:
    runs = [run(tmp_path, "validation.patience=3", "model.item_bias=true", ranks=n)[0] for n in (1, 2, 3)]
    want, model = metrics(runs[0]), Model.load(runs[0])
    log = (runs[0] / "train.log").read_text()
    assert "3 validations without a lower RMSE than epoch" in log
    assert want[-1]["epoch"] < 300
    best = min((m for m in want if "validation_rmse" in m), key=lambda m: m["validation_rmse"])
    assert f"restored the factors of epoch {best['epoch']}: validation RMSE" in log
    for run_dir in runs[1:]:
        got = metrics(run_dir)
        assert [m["epoch"] for m in got] == [m["epoch"] for m in want]
        for ours, theirs in zip(got, want, strict=True):
            for key in ("cost", "validation_rmse", "validation_mae"):
                assert ours.get(key) == (pytest.approx(theirs[key], rel=1e-10) if key in theirs else None)
        torch.testing.assert_close(Model.load(run_dir).factors.X, model.factors.X, rtol=0, atol=1e-10)


def test_the_saved_model_has_the_best_accuracy_that_was_printed(tmp_path: Path) -> None:
    run_dir, [(stdout, _)] = run(tmp_path)
    lines = [line.split() for line in stdout.splitlines()[5:]]
    assert lines[0] == ["Epoch", "Loss", "RMSE", "MAE"]
    assert {line[0]: len(line) for line in lines[1:]} == {"1": 2} | {str(e): 4 for e in range(20, 301, 20)}
    best = min(metrics(run_dir), key=lambda m: m.get("validation_rmse", math.inf))
    assert best["epoch"] < 300
    made_up = SyntheticRatings(60, 80, 1500, 0)
    source = SplitOnLoad(made_up, {"validation": SplitSection(by="random", fraction=0.2, seed=0)})
    held_out, model = source.load(UserRange(0, 60), "validation"), Model.load(run_dir)
    means = model.item_means.numpy()
    got = PredictionErrors(held_out, means, made_up.scale, CPU).measure(model.factors, SoloComm())
    assert got["rmse"] == pytest.approx(best["validation_rmse"], rel=1e-12)
    assert got["mae"] == pytest.approx(best["validation_mae"], rel=1e-12)


def test_no_validation_no_new_fields(tmp_path: Path) -> None:
    run_dir, [(stdout, _)] = run(tmp_path, "validation.every=null")
    assert stdout.splitlines()[5] == "Epoch       Loss"
    assert all(m.keys() == {"epoch", "cost", "seconds", "ratings_per_second"} for m in metrics(run_dir))


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_diverges_keeps_the_model_of_the_last_good_epoch(ranks: int, tmp_path: Path) -> None:
    overrides = ["train.lr=1.0e+100", "train.log_every=1", "validation.every=null", "train.dtype=float64"]
    run_dir, said = run(tmp_path, *overrides, ranks=ranks)
    errors = {error for _, error in said}
    assert len(errors) == 1
    good = metrics(run_dir)[-1]["epoch"]
    what = f"RunError True epoch {good + 1}: the cost is "
    (error,) = errors
    assert error.startswith(what)
    assert error.endswith(f"the model of epoch {good} is kept in {run_dir}/model; try a lower train.lr")
    factors = Model.load(run_dir).factors
    assert all(t.isfinite().all() for t in (factors.X, factors.W, factors.b))


def test_validation_without_held_out_ratings_is_one_line(tmp_path: Path) -> None:
    run_dir, said = run(tmp_path, "data.validation={fraction: 1.0e-9}", ranks=2)
    assert {error for _, error in said} == {
        "ConfigError True data.validation: holds out none of these ratings; hold out more,"
        " or leave validation.every out"
    }
    assert not run_dir.exists()


@pytest.mark.parametrize("held_out", [False, True])
def test_prepared_ratings_are_validated_if_they_were_split(held_out: bool, tmp_path: Path) -> None:
    lines = [f"{user},{item},{1 + (user + item) % 5}" for user in range(9) for item in range(7)]
    (tmp_path / "ratings.csv").write_text("\n".join(["userId,movieId,rating", *lines]) + "\n")
    data = DataSection(ratings=str(tmp_path / "ratings.csv"), validation=SplitSection() if held_out else None)
    with prepare_source(data, tmp_path / "prepared") as ready:
        ready.keep(tmp_path / "prepared")
    config = f"data: {{prepared: {tmp_path / 'prepared'}}}\nvalidation: {{every: 5}}\n"
    run_dir, [(_, said)] = run(tmp_path, "train.epochs=10", config=config)
    if held_out:
        assert [m["epoch"] for m in metrics(run_dir) if "validation_rmse" in m] == [5, 10]
    else:
        want = "validation.every: .*prepared was prepared without data.validation; prepare it with"
        assert re.search(want, said)
        assert not run_dir.exists()


def test_shards_json_says_how_the_run_is_spread(tmp_path: Path) -> None:
    run_dir, _ = run(tmp_path, "train.epochs=1", ranks=3)
    shards = json.loads((run_dir / "shards.json").read_text())
    assert (shards["world_size"], shards["device"], shards["backend"]) == (3, "cpu", "gloo")
    assert shards["num_items"] == 80
    assert [r["start"] for r in shards["ranks"]] == [0] + [r["stop"] for r in shards["ranks"][:-1]]
    assert shards["ranks"][-1]["stop"] == 60
    assert sum(r["ratings"] for r in shards["ranks"]) == 1500


def test_speed_counts_the_training_ratings_alone(tmp_path: Path) -> None:
    run_dir, _ = run(tmp_path, "train.epochs=100")
    for m in metrics(run_dir):
        counted = m["ratings_per_second"] * m["seconds"] / m["epoch"]
        assert counted < 1350
        assert counted == pytest.approx(1200, rel=0.1)
