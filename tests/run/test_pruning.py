"""A run that is judged after its validations, and pruned on all ranks at once."""

import json
from pathlib import Path

import pytest

from cofi_dist.config import load_config
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CofiError, RunError
from cofi_dist.model import Model
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run.screen import StreamScreen
from cofi_dist.run.stop import StopRequest
from cofi_dist.run.train import train_config
from cofi_dist.run.training_run import Manner
from cofi_dist.testing import run_ranks

CONFIG = """
data: {synthetic: {num_users: 30, num_items: 40, num_ratings: 300}, validation: {}}
model: {num_features: 3}
train: {epochs: 30, lr: 0.05, dtype: float64, log_every: 10}
validation: {every: 4}
"""


def _train(comm: Comm, file: Path, prune_at: int, fails: bool) -> tuple[list[tuple[int, float]], str]:
    judged: list[tuple[int, float]] = []

    def judge(epoch: int, figure: float) -> str:
        judged.append((epoch, figure))
        if epoch == prune_at and fails:
            raise RunError("the journal is gone")
        return "it is poor" if epoch == prune_at else ""

    config = load_config(file, [f"run_dir={file.parent / 'run'}"])
    run = RunDirectory(config.run_dir)
    manner = Manner(screen=StreamScreen(quiet=True), judge=judge)
    try:
        train_config(config, run, comm, StopRequest(), manner)
    except CofiError as error:
        return judged, str(error)
    comm.barrier()
    return judged, ""


@pytest.mark.parametrize("ranks", [1, 2])
def test_rank_zero_alone_judges_and_all_ranks_stop(ranks: int, tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)
    judged, *others = run_ranks(ranks, _train, file, 12, False, tmp=tmp_path)
    assert [epoch for epoch, _ in judged[0]] == [4, 8, 12]
    assert others == [([], "")] * (ranks - 1)
    run = tmp_path / "run"
    result = json.loads((run / "result.json").read_text())
    assert result["pruned"] == "after epoch 12: it is poor"
    best = min(judged[0], key=lambda pair: pair[1])
    assert (result["epoch"], result["validation_rmse"]) == best, "the model is that of the best epoch"
    assert Model.load(run).facts.fingerprint == result["fingerprint"]
    assert not RunDirectory(run).is_finished


def test_the_last_epoch_is_not_judged(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG.replace("epochs: 30", "epochs: 12"))
    ((judged, error),) = run_ranks(1, _train, file, 12, False, tmp=tmp_path)
    assert [epoch for epoch, _ in judged] == [4, 8]
    assert not error
    assert RunDirectory(tmp_path / "run").is_finished


def test_an_error_of_the_judge_ends_all_ranks(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG)
    for _, error in run_ranks(2, _train, file, 8, True, tmp=tmp_path):
        assert error == "the journal is gone"
