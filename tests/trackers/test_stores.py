"""TensorBoard, MLflow and Weights & Biases record a run and its resumption: read back from their stores."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

import cofi_dist
from tests.support.ratings_files import random_table
from tests.support.runs import metrics as printed
from tests.support.wandb_file import wandb_records
from tests.trackers.test_callback import SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TRACKERS = ["tensorboard", "mlflow", "wandb"]
EPOCHS = [1, 5, 10, 15, 20, 25, 30]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Train 20 epochs with all trackers, and 10 more."""
    for name in ("tensorboard", "mlflow", "sqlalchemy", "wandb"):
        pytest.importorskip(name)
    run_dir = tmp_path_factory.mktemp("tracked") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cofi_dist.trackers.group.END_SECONDS", 300.0)
        for name in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_"))]:
            patch.delenv(name)
        patch.setenv("WANDB_MODE", "offline")
        for epochs in (20, 30):
            train = {**SETTINGS["train"], "epochs": epochs, "loggers": TRACKERS}
            given: dict[str, Any] = {**SETTINGS, "train": train}
            checkpoint = {"every": 10, "resume": "auto"}
            cofi_dist.fit(random_table(), run_dir=run_dir, checkpoint=checkpoint, **given)
        assert not [line for line in log(run_dir) if "switched off" in line or "did not get" in line]
        yield run_dir


def log(run_dir: Path) -> list[str]:
    return (run_dir / "train.log").read_text().splitlines()


def costs(run_dir: Path) -> list[tuple[int, float]]:
    return [(line["epoch"], line["cost"]) for line in printed(run_dir) if "cost" in line]


def test_the_bits_are_those_of_a_run_without_trackers(run: Path) -> None:
    train = {**SETTINGS["train"], "epochs": 30}
    want = cofi_dist.fit(random_table(), **{**SETTINGS, "train": train})
    got = cofi_dist.load(run)
    assert torch.equal(got.factors.X, want.factors.X)
    assert torch.equal(got.factors.W, want.factors.W)
    assert [epoch for epoch, _ in costs(run)] == EPOCHS


def test_tensorboard_has_each_epoch_once(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert sorted(events.Tags()["scalars"]) == ["cost", "validation_mae", "validation_rmse"]
    assert [(e.step, e.value) for e in events.Scalars("cost")] == [
        (epoch, pytest.approx(cost, rel=1e-6)) for epoch, cost in costs(run)
    ]
    assert [e.step for e in events.Scalars("validation_rmse")] == [10, 20, 30]


def test_mlflow_has_one_run_with_all_of_it(run: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    store = f"sqlite:///{run}/trackers/mlflow.db"
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("cofi-dist")
    assert experiment is not None
    (recorded,) = client.search_runs([experiment.experiment_id])
    identity = recorded.info.run_id
    assert (recorded.info.status, recorded.data.tags["outcome"]) == ("FINISHED", "finished")
    assert recorded.info.run_name == "run"
    params, tags = recorded.data.params, recorded.data.tags
    assert (params["train.lr"], params["model.num_features"]) == ("0.01", "4")
    assert (params["train.epochs"], tags["resumed.train.epochs"]) == ("20", "30")
    assert (tags["num_ratings"], tags["ranks"], tags["device"]) == ("109", "1", "cpu")
    history = client.get_metric_history(identity, "cost")
    assert sorted((metric.step, metric.value) for metric in history) == costs(run)
    assert len(client.get_metric_history(identity, "validation_rmse")) == 3
    result = json.loads((run / "result.json").read_text())
    assert recorded.data.metrics["model_validation_rmse"] == result["validation_rmse"]
    client.download_artifacts(identity, "model", str(tmp_path))
    assert torch.equal(cofi_dist.load(tmp_path / "model").factors.X, cofi_dist.load(run).factors.X)
    assert f"mlflow: run {identity} in {store}" in log(run)


def test_wandb_goes_on_with_one_run(run: Path) -> None:
    identity = (run / "trackers/wandb.id").read_text().strip()
    files = sorted((run / "trackers/wandb").glob("offline-run-*/*.wandb"))
    assert [file.name for file in files] == [f"run-{identity}.wandb"] * 2
    config: dict[str, Any] = {}
    history: list[tuple[int, float]] = []
    summary: dict[str, Any] = {}
    exits, artifacts = [], []
    for file in files:
        for record in wandb_records(file):
            match record.WhichOneof("record_type"):
                case "run":
                    config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
                case "history":
                    items = {
                        (x.key or x.nested_key[0]): json.loads(x.value_json) for x in record.history.item
                    }
                    history.append((items["epoch"], items["cost"]))
                case "summary":
                    summary |= {
                        (x.key or x.nested_key[0]): json.loads(x.value_json) for x in record.summary.update
                    }
                case "exit":
                    exits.append(record.exit.exit_code)
                case "artifact":
                    artifacts.append((record.artifact.name, record.artifact.type))
    assert history == costs(run)
    assert (config["train.lr"], config["num_ratings"], config["train.epochs"]) == (0.01, 109, 30)
    assert summary["outcome"] == "finished"
    assert "model_validation_rmse" in summary
    assert exits == [0, 0]
    assert artifacts == [(f"model-{identity}", "model")] * 2


def test_the_ratings_are_not_recorded(run: Path) -> None:
    """They may be licensed; and a model names users only by their ids."""
    copied = [path for path in (run / "trackers").rglob("*.parquet") if path.is_file()]
    assert {tuple(pl.read_parquet_schema(path)) for path in copied} <= {
        tuple(pl.read_parquet_schema(run / "model" / name)) for name in ("users.parquet", "items.parquet")
    }
