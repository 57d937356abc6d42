"""A model on disk is read back bit for bit, or refused in one line."""

import math
import resource
import signal
from pathlib import Path

import pytest
import torch

from cofi_dist.data.ids import IdMap
from cofi_dist.errors import RunError
from cofi_dist.files.tensor_file import write_tensors
from cofi_dist.files.tensor_header import read_header
from cofi_dist.model import Model
from tests.support.models import made_up, small


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return small(tmp_path)


def test_a_model_that_is_not_finite_takes_no_good_ones_place(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    good = Model.load(tmp_path / "m").factors.W
    for tensor in model.tensors.values():
        before = tensor.view(-1)[0].item()
        tensor.view(-1)[0] = math.nan
        with pytest.raises(RunError, match="holds a number that is not finite; nothing was written"):
            model.save(tmp_path / "m", replace=True)
        tensor.view(-1)[0] = before
    assert torch.equal(Model.load(tmp_path / "m").factors.W, good)


def test_a_saved_model_is_loaded_bit_for_bit(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    for name in ("X", "W", "b"):
        assert torch.equal(getattr(again.factors, name), getattr(model.factors, name))
    for name in ("item_means", "item_counts", "user_counts"):
        assert torch.equal(getattr(again, name), getattr(model, name))
    assert again.facts == model.facts
    assert again.users.raw.to_list() == ["ann", "bob", "zoe"]
    assert again.items.raw.to_list() == [0, 1, 2, 3, 4]
    assert again.config == model.config


def test_a_model_of_events_is_loaded_as_one(tmp_path: Path) -> None:
    model = made_up(tmp_path, 3, 5, "data.feedback=implicit", "train.alpha=2.5")
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    assert (again.facts, again.config) == (model.facts, model.config)
    assert again.scorer.is_implicit
    assert (again.scorer.lowest, again.scorer.highest) == (-math.inf, math.inf)


def test_a_model_of_an_earlier_version_is_one_of_ratings(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    file = tmp_path / "m" / "factors.safetensors"
    metadata = read_header(file)[1]
    del metadata["feedback"]
    write_tensors(file, model.arrays.by_name, metadata)
    config = tmp_path / "m" / "config.yaml"
    new_keys = ("feedback:", "user_bias:", "unknown_weight:", "metric:")
    lines = config.read_text().splitlines(keepends=True)
    older = [line for line in lines if not line.strip().startswith(new_keys)]
    assert len(lines) - len(older) == len(new_keys)
    config.write_text("".join(older))
    again = Model.load(tmp_path / "m")
    assert (again.facts, again.config) == (model.facts, model.config)
    assert not again.facts.is_implicit


def test_a_config_of_other_feedback_than_the_model_is_refused(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    config = tmp_path / "m" / "config.yaml"
    config.write_text("run_dir: runs/x\ndata: {ratings: r.csv, feedback: implicit}\n")
    says = r"config\.yaml: data\.feedback is implicit, but the model was trained with explicit; the model is"
    with pytest.raises(RunError, match=says):
        Model.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (
            lambda d: (d / "factors.safetensors").unlink(),
            "no such file; is this the directory of a finished run",
        ),
        (lambda d: (d / "factors.safetensors").write_bytes(b"\x80\x04junk"), "is no safetensors file"),
        (lambda d: (d / "users.parquet").write_bytes(b"junk"), "is not an id map"),
        (
            lambda d: IdMap.row_numbers(9).save(d / "users.parquet"),
            "holds 9 ids, not the 3 of what they belong to",
        ),
        (lambda d: (d / "config.yaml").unlink(), "cannot be read"),
    ],
    ids=["no factors", "junk factors", "junk ids", "other ids", "no config"],
)
def test_a_damaged_model_is_refused_in_one_line(
    damage: object, says: str, model: Model, tmp_path: Path
) -> None:
    model.save(tmp_path / "m")
    damage(tmp_path / "m")  # type: ignore[operator]
    with pytest.raises(Exception, match=says) as caught:
        Model.load(tmp_path / "m")
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_leaves_nothing(model: Model, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))  # as a full disk, after 16 bytes
    try:
        with pytest.raises(RunError, match="cannot be written"):
            model.save(tmp_path / "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not (tmp_path / "m").exists()
