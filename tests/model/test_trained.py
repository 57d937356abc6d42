"""A model knows the ratings and the epochs that it came with; neither is saved or pickled."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from cofi_dist.errors import RunError
from cofi_dist.model import Model
from cofi_dist.model.history import history_table
from tests.support.models import judged, small, trained

CONFIG = """
data: {synthetic: {num_users: 20, num_items: 30, num_ratings: 200}, test: {}}
model: {num_features: 4}
train: {epochs: 3, log_every: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp = tmp_path_factory.mktemp("run")
    trained(tmp, CONFIG)
    return tmp / "run"


def test_a_loaded_model_knows_the_ratings_and_the_epochs_of_its_run(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for directory in (run, run / "model"):
        model = Model.load(directory)
        assert model.rated().parts == ("train", "test")
        assert model.history.rows(named=True) == lines
        assert model.loaded_from == directory


def test_ratings_in_memory_come_first_and_are_not_pickled(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    model = replace(model, ratings=rated)
    assert model.rated() is rated
    model.scorer  # noqa: B018
    copy = pickle.loads(pickle.dumps(model))
    assert copy.ratings is None
    assert "scorer" not in vars(copy)
    with pytest.raises(RunError, match="has come without its ratings"):
        copy.rated()
    assert copy.predict(["u0001"], [100]) == model.predict(["u0001"], [100])


def test_a_saved_model_has_no_ratings_and_no_epochs(tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    replace(model, ratings=rated, epochs=history_table([])).save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    assert loaded.ratings is None
    assert loaded.history.columns == ["epoch", "cost", "seconds", "ratings_per_second"]
    assert not len(loaded.history)


def test_models_are_equal_only_to_themselves(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert model == model  # noqa: PLR0124
    assert model != small(tmp_path)
    assert len({model, replace(model)}) == 2


def test_tensors_are_the_arrays_memory(tmp_path: Path) -> None:
    small(tmp_path).save(tmp_path / "m")
    model = Model.load(tmp_path / "m")
    assert list(model.tensors) == list(model.arrays.by_name)
    assert model.factors.c is None
    model.factors.W[2, 1] = 7
    model.item_counts[3] = 9
    assert (model.arrays.by_name["W"][2, 1], model.arrays.item_counts[3]) == (7, 9)
    assert Model.load(tmp_path / "m").factors.W[2, 1] != 7, "what is changed stays in this process"
