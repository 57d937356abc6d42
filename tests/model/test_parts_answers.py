"""Whatever is asked of a model, it answers with the same bits in parts as in one file."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cofi_dist.files import piece_sums
from cofi_dist.model import Model, RunRatings, recommend, row_parts
from cofi_dist.model.export import export
from tests.support.models import NUM_ITEMS, NUM_USERS, as_table, in_parts, judged

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


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
