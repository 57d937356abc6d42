"""`fit` trains as the command does, and keeps nothing unless it is asked to."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cofi_dist
from cofi_dist import Model
from cofi_dist.config.strict_yaml import to_yaml
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import CofiError
from cofi_dist.run.train import train
from tests.support.ratings_files import random_table, save

MODEL = {"num_features": 4}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files, which is this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def assert_same_bits(model: Model, other: Model) -> None:
    assert model.tensors.keys() == other.tensors.keys()
    for name, tensor in model.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


def by_command(tmp_path: Path, ratings: Path, sections: dict[str, dict[str, Any]]) -> Path:
    sections = {**sections, "data": {"ratings": str(ratings), **sections.get("data", {})}}
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml({**sections, "run_dir": str(tmp_path / "run")}))
    return train(file, [], SoloComm())


@pytest.mark.parametrize("optimizer", ["adam", "als"])
@pytest.mark.parametrize("feedback", ["explicit", "implicit"])
def test_a_table_and_its_file_give_the_bits_of_the_command(
    optimizer: str, feedback: str, tmp_path: Path, temporary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = random_table()
    file = save(table, tmp_path / "ratings.csv")
    sections: dict[str, dict[str, Any]] = {
        "data": {"feedback": feedback},
        "model": MODEL,
        "train": {"optimizer": optimizer, "epochs": 6, "log_every": 2},
    }
    run = by_command(tmp_path, file, sections)
    capfd.readouterr()
    for ratings in (table, file, str(file)):
        model = cofi_dist.fit(ratings, progress=False, **sections)  # type: ignore[arg-type]
        assert_same_bits(model, Model.load(run))
        assert model.history["cost"].to_list() == Model.load(run).history["cost"].to_list()
    assert capfd.readouterr() == ("", "")
    assert not list(temporary.iterdir())


def test_a_fit_starts_from_a_model_or_its_path(tmp_path: Path, temporary: Path) -> None:
    table, settings = random_table(), {"optimizer": "als", "epochs": 3}
    first = cofi_dist.fit(table, model=MODEL, train=settings, progress=False, run_dir=tmp_path / "run")
    starts = (first, tmp_path / "run", str(tmp_path / "run" / "model"))
    models = [
        cofi_dist.fit(table, model=MODEL, train=settings, progress=False, start=start) for start in starts
    ]
    assert models[0].history["cost"][0] < first.history["cost"][0]
    for model in models:
        assert_same_bits(model, models[0])
    assert not list(temporary.iterdir())


def test_the_model_comes_with_its_ratings_and_epochs(temporary: Path) -> None:
    table = random_table()
    model = cofi_dist.fit(table, model=MODEL, train={"epochs": 5, "log_every": 2}, progress=False)
    assert model.history["epoch"].to_list() == [1, 2, 4]
    assert model.rated().items_of(3).sort().to_list() == sorted(table.filter(userId=3)["movieId"])
    assert model.config.run_dir == "/dev/null"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": {"lrr": 1}}, r"train\.lrr: unknown key; there are epochs, lr, "),
        (
            {"train": [("lr", 1)]},
            r"train: must be a mapping, such as a dict, of the keys of that section, not",
        ),
        ({"train": {"lr": "fast"}}, r"train\.lr: .* not 'fast'"),
        ({"checkpoint": {"every": 2}}, r"checkpoint\.every: .* set run_dir"),
        ({"seed": -1}, "seed: .* greater than or equal to 0, not -1"),
        ({"progress": "yes"}, "progress: must be None, True or False, not 'yes'"),
        ({"run_dir": 5}, "run_dir: must be a path, not 5"),
        ({"run_dir": ""}, "run_dir: a path is empty"),
        ({"start": 5}, "start: must be a model or the path of one, not 5"),
        ({"start": "a", "train": {"start": "b"}}, r"train\.start: start is given too"),
        ({"data": {"name": "ml-latest-small"}}, r"data\.name: ratings are given too"),
        ({"data": {"table": "frame"}}, r"data\.table: ratings are given too"),
        ({"ratings": None}, "ratings: give a table or the path of a file, or name a source in data"),
        ({"ratings": None, "data": {"table": "frame"}}, r"data\.table: fit sets it; give the table itself"),
        ({"train": {5: 1}}, "train: 5 is no key; keys are text"),
        ({"data": {"columns": {None: 1}}}, r"data\.columns: None is no key; keys are text"),
        ({"train": {"loggers": ["mlflow"]}}, r"train\.loggers: nothing is kept without run_dir"),
        ({"checkpoint": {"resume": "auto"}}, "checkpoint.resume: auto: nothing is kept without run_dir"),
        ({"device": "tpu"}, "device: input should be 'auto', 'cpu', 'cuda' or 'mps', not 'tpu'"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CofiError, match=f"^{message}"):
        cofi_dist.fit(**{"ratings": random_table(), **arguments})


def test_numbers_of_numpy_are_numbers(temporary: Path) -> None:
    train = {"epochs": np.int64(2), "lr": np.float32(0.5), "log_every": np.uint8(1)}
    seed: Any = np.int64(3)
    model = cofi_dist.fit(random_table(), model=MODEL, train=train, seed=seed, progress=False)
    assert (model.config.train.epochs, model.config.train.lr, model.config.seed) == (2, 0.5, 3)


def test_importing_the_package_is_quick_and_imports_nothing_large() -> None:
    script = (
        "import sys, time; began = time.perf_counter(); import cofi_dist; "
        "seconds = time.perf_counter() - began; "
        "assert {'fit', 'load', 'Model'} <= set(dir(cofi_dist)); "
        "print([seconds, *({'torch', 'polars', 'pydantic', 'numpy'} & set(sys.modules))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, *large = json.loads(done.stdout.replace("'", '"'))
    assert seconds < 0.1
    assert not large


def test_the_public_names() -> None:
    assert cofi_dist.load == Model.load
    assert cofi_dist.__all__ == ["Callback", "Model", "__version__", "fit", "load", "tune"]
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        cofi_dist.fitt  # type: ignore[attr-defined]  # noqa: B018
