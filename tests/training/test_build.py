"""What a rank trains with, by what the config says."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from cofi_dist.config import Config
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.optim.adam import Adam
from cofi_dist.optim.als import Als
from cofi_dist.optim.sampler import Sampler
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.training import build
from cofi_dist.training.build import (
    build_optimizer,
    build_trainer,
    describe_computation,
    notes_on_cost,
    order_fault,
)
from cofi_dist.training.draw import counter_draw
from cofi_dist.training.problem import Problem, load_problem
from cofi_dist.training.validation import build_validation
from tests.support.trainers import Recorder

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def config_of(train: dict[str, Any], **more: Any) -> Config:
    shape = {"num_users": 30, "num_items": 20, "num_ratings": 200}
    given = {"data": {"synthetic": shape, "validation": {}}, "model": {"num_features": 3}, "run_dir": "none"}
    return Config.model_validate({**given, "train": train, **more})


def problem_on(device: torch.device, train: dict[str, Any]) -> Problem:
    """Nothing is computed on the device."""
    return load_problem(config_of(train), Path("none"), device, SoloComm())[0]


@pytest.mark.parametrize(
    ("device", "train", "said"),
    [
        (CPU, {}, "sparse cost: compiled loops"),
        (CUDA, {}, "sparse cost: Triton's kernels"),
        (torch.device("mps"), {}, "sparse cost: torch's operations"),
        (CPU, {"cost": "dense"}, "dense cost"),
        (CPU, {"optimizer": "als"}, "als: 3 steps per half-sweep"),
        (CPU, {"optimizer": "als", "solver": "exact"}, "als: exact"),
    ],
)
def test_the_log_says_how_j_is_minimised(device: torch.device, train: dict[str, Any], said: str) -> None:
    with mock.patch.object(build, "triton_fault", return_value=""):
        assert describe_computation(problem_on(device, train)) == said


def test_the_log_says_why_triton_is_not_taken() -> None:
    with mock.patch.object(build, "triton_fault", return_value="no compiler"):
        said = describe_computation(problem_on(CUDA, {}))
    assert said == "sparse cost: torch's operations, which are slower (no compiler)"


@pytest.mark.parametrize(("train", "lines"), [({}, 0), ({"unknown_weight": 0.0}, 1)])
def test_events_that_teach_nothing_are_told_of(train: dict[str, Any], lines: int) -> None:
    shape = {"num_users": 9, "num_items": 9, "num_ratings": 20}
    given = {"data": {"synthetic": shape, "feedback": "implicit"}, "run_dir": "none", "train": train}
    problem, _ = load_problem(Config.model_validate(given), Path("none"), CPU, SoloComm())
    assert len(notes_on_cost(problem)) == lines
    assert notes_on_cost(problem_on(CPU, {})) == []


def test_the_start_is_drawn_as_the_config_says() -> None:
    inits: list[dict[str, Any]] = [{}, {"init": "notebook"}, {"init": "counter"}]
    by_default, notebook, counter = (build.initial_factors(problem_on(CPU, train)).W for train in inits)
    assert torch.equal(by_default, notebook)
    assert not torch.equal(counter, notebook)
    given = {"seed": 1, "device": CPU, "dtype": torch.float32}
    assert torch.equal(counter, counter_draw("W", [UserRange(0, 30)], 3, **given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("train", "kind"),
    [
        ({}, Adam),
        ({"cost": "dense"}, Adam),
        ({"optimizer": "als"}, Als),
        ({"optimizer": "als", "solver": "exact", "average": 3}, Sampler),
    ],
)
def test_there_is_always_an_optimiser(train: dict[str, Any], kind: type) -> None:
    config = config_of({"lambda_": 2.5, "lambda_power": 0.5, **train})
    problem, shard = load_problem(config, Path("none"), CPU, SoloComm())
    optimizer = build_optimizer(problem, shard, build.initial_factors(problem))
    assert type(optimizer) is kind
    assert optimizer.objective.regulariser.lambda_ == 2.5
    assert not optimizer.objective.regulariser.is_weight_decay


@pytest.mark.parametrize(
    ("device", "cost", "is_alone", "want"),
    [
        ("cpu", "sparse", True, (True, False)),
        ("cpu", "dense", True, (False, False)),
        ("cuda", "sparse", True, (True, True)),
        ("cuda", "sparse", False, (True, False)),
        ("cuda", "dense", True, (False, False)),
        ("mps", "sparse", True, (False, False)),
    ],
)
def test_what_is_fast_depends_on_device_cost_and_ranks(
    device: str, cost: str, is_alone: bool, want: tuple[bool, bool]
) -> None:
    factors, settings = mock.Mock(), config_of({"cost": cost}).train
    factors.X.device = torch.device(device)
    with mock.patch.object(build, "Adam") as adam:
        build.build_adam(mock.Mock(), factors, mock.Mock(), settings, is_alone=is_alone)
    assert (adam.call_args.kwargs["fused"], adam.call_args.kwargs["record"]) == want


def test_a_trainer_trains_and_validates() -> None:
    config = config_of({"epochs": 4, "log_every": 2, "lr": 0.01}, validation={"every": 2})
    problem, shard = load_problem(config, Path("none"), CPU, SoloComm())
    heard = Recorder()
    build_trainer(problem, shard, SoloComm(), build_validation(problem, shard)).run(heard)
    assert [metrics.epoch for metrics in heard.metrics] == [1, 2, 4]
    assert [metrics.accuracy is None for metrics in heard.metrics] == [True, False, False]


def test_without_validation_nothing_is_held_back() -> None:
    problem, shard = load_problem(config_of({}), Path("none"), CPU, SoloComm())
    assert build_validation(problem, shard) is None


def test_the_order_of_sums_is_fixed_on_the_cpu_and_by_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "triton_fault", lambda: "")
    assert [order_fault(device) for device in (CPU, CUDA)] == ["", ""]
    assert order_fault(torch.device("mps")) == "is for the CPU and CUDA, not for mps"
    monkeypatch.setattr(build, "triton_fault", lambda: "Triton is not installed")
    assert order_fault(CUDA) == "needs Triton on CUDA (Triton is not installed)"
