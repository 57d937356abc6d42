"""Whatever is asked of a model, it answers with the same bits in parts as in one file."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.files import piece_sums
from cofi_dist.model import Model, RunRatings, recommend, row_parts
from cofi_dist.model.export import export
from cofi_dist.report.compare import compare
from tests.model.test_update import model_of, some_ratings
from tests.support.models import NUM_ITEMS, NUM_USERS, as_table, in_parts, judged, made_up
from tests.support.warm_starts import CONFIG, bits_of, started
from tests.support.warm_starts import model_of as start_of
from tests.support.written_runs import row, write_run

USERS, ITEMS = ["u0000", "u0007", "u0039", "nobody"], [100, 131, 159, 7]


def _exported(form: str) -> Callable[[Model, RunRatings, Path], Any]:
    def files(model: Model, rated: RunRatings, directory: Path) -> list[bytes]:
        return [file.read_bytes() for file in export(model, form, directory / form, replace=True)]

    return files


def _held_out(model: Model) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    user, item = np.divmod(rng.choice(NUM_USERS * NUM_ITEMS, 200, replace=False), NUM_ITEMS)
    return as_table(model, user, item, rng.integers(1, 11, 200) / 2)


def _explained(model: Model, rated: RunRatings, _: Path) -> tuple[Any, ...]:
    found = model.explain("u0007", 131, rated)
    return found.ratings.rows(), found.offset, found.unrated, found.trained_score


def _folded(model: Model, _: RunRatings, __: Path) -> tuple[Any, ...]:
    user = model.fold_in(ITEMS, [4.0, 3.0, 1.0, 5.0])
    return user.w.tobytes(), user.b, model.recommend(user).rows()


ANSWERS: dict[str, Callable[[Model, RunRatings, Path], Any]] = {
    "predict": lambda model, *_: model.predict(USERS, ITEMS).tobytes(),
    "a list": lambda model, rated, _: model.recommend("u0007", rated=rated).rows(),
    "lists": lambda model, *_: model.recommend(USERS[:3], 7).rows(),
    "all lists": lambda model, rated, _: [t.rows() for t in model.recommend_all(5, rated, users_at_once=9)],
    "similar items": lambda model, *_: model.similar_items(131).rows(),
    "similar users": lambda model, *_: model.similar_users("u0007").rows(),
    "fold in": _folded,
    "explain": _explained,
    "evaluate": lambda model, rated, _: model.evaluate(_held_out(model), rated),
    "tensors": lambda model, *_: [tensor.numpy().tobytes() for tensor in model.tensors.values()],
    "factors": lambda model, *_: str(model.factors),
    "pickle": lambda model, *_: pickle.loads(pickle.dumps(model)).arrays.digest(),
    "repr": lambda model, *_: repr(model),
    **{form: _exported(form) for form in ("npz", "safetensors", "parquet", "index")},
}


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    users=st.sets(st.integers(1, NUM_USERS - 1), max_size=4),
    items=st.sets(st.integers(1, NUM_ITEMS - 1), max_size=4),
    block=st.integers(1, NUM_USERS),
)
def test_every_answer_is_the_same(users: set[int], items: set[int], block: int, tmp_path: Path) -> None:
    model, rated = judged(tmp_path)
    (tmp_path / "out").mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patched:
        wanted = {name: answer(model, rated, tmp_path / "out") for name, answer in ANSWERS.items()}
        patched.setattr(piece_sums, "PIECE", 64)
        patched.setattr(row_parts, "BLOCK_BYTES", 32 * block)
        patched.setattr(recommend, "ROWS_AT_ONCE", block)
        parted = in_parts(model, tmp_path / "parts", users=sorted(users), items=sorted(items))
        assert parted.arrays.is_in_parts
        for name, answer in ANSWERS.items():
            if name == "parquet":  # whose row groups are the blocks
                continue
            assert answer(parted, rated, tmp_path / "out") == wanted[name], name
        for file in export(parted, "parquet", tmp_path / "out" / "again", replace=True):
            assert pl.read_parquet(file).equals(pl.read_parquet(tmp_path / "out" / "parquet" / file.name))


def test_an_update_is_the_same(tmp_path: Path) -> None:
    model = model_of(tmp_path, some_ratings(5, 6, 20, seed=0))
    parted = in_parts(model, tmp_path / "parts", users=[1], items=[2])
    new = pl.DataFrame({"u": [1, 2], "i": [102, 103], "r": [2.5, 4.5]})
    assert parted.update(new, model.rated()).arrays.digest() == model.update(new).arrays.digest()


def test_it_is_compared_as_one(tmp_path: Path) -> None:
    model = made_up(tmp_path)
    parted = in_parts(model, tmp_path / "parts", users=[3], items=[7, 9])
    for name, each in (("a", model), ("b", parted)):
        write_run(tmp_path / name, [row(1, 2.0), row(11, 1.0)])
        each.save(tmp_path / name / "model")
    assert all(found.bit_identical for found in compare(tmp_path / "a", tmp_path / "b"))
    W = model.arrays.by_name["W"].copy()
    W[5, 2] += 1
    replace(model, arrays=replace(model.arrays, W=W)).save(tmp_path / "a" / "model", replace=True)
    (found,) = (each for each in compare(tmp_path / "a", tmp_path / "b") if not each.bit_identical)
    assert (found.name, found.where) == ("W", "[5 2]")
    assert found.largest == pytest.approx(1.0)


def test_a_run_starts_from_it_as_from_one(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    model = start_of(tmp_path, list(range(5, 70)), list(range(30)))
    parted = in_parts(model, tmp_path / "parts", users=[30, 31], items=[7])
    found, wanted = (
        bits_of(started(SoloComm(), tmp_path / "run.yaml", [], each).factors) for each in (parted, model)
    )
    assert all(found[name].tobytes() == factor.tobytes() for name, factor in wanted.items())
