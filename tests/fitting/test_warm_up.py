"""The loops that trainings look for are compiled before the first of them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cofi_dist.cli.main import app
from cofi_dist.errors import TrainingError
from cofi_dist.fitting import warm_up
from cofi_dist.kernels.cpu.compiled_cache import LoopCache

ROOT = Path(__file__).parents[2]
K = 3

AFTERWARDS = """
import itertools
import json
import sys
import numpy as np
import polars as pl
import cofi_dist
from cofi_dist.kernels.first_compilation import FirstCompilation
from cofi_dist.ranking.pairs import UserItemPairs
from cofi_dist.ranking.ranker import MANY_SCORES, Ranker

def refuse():
    raise AssertionError("something is compiled")

pairs = [(user, item) for user in range(9) for item in range(7) if (user * item + user + item) % 3]
users, items = [user for user, _ in pairs], [item for _, item in pairs]
table = pl.DataFrame({"userId": users, "itemId": items, "rating": [2.5] * len(pairs)})
FirstCompilation.announce = refuse  # whatever listens
for (dtype, feedback), optimizer, bias, blocks in itertools.product(
    json.loads(sys.argv[2]), ("adam", "als"), (False, True), (1, 4)
):
    train = {"optimizer": optimizer, "dtype": dtype, "epochs": 3, "lambda_": 0.5}
    if feedback == "implicit":
        train |= {"alpha": 2.0, "unknown_weight": 0.3}
    if blocks > 1:
        train |= {"reduction": "invariant", "blocks": blocks}
    fitted = cofi_dist.fit(
        table,
        data={"feedback": feedback, "columns": {"item": "itemId"}},
        model={"num_features": int(sys.argv[1]), "item_bias": bias, "user_bias": bias},
        train=train,
        progress=False,
    )
rng, num_items = np.random.default_rng(1), 2**12
X, w = rng.normal(size=(num_items, 3)), rng.normal(size=(MANY_SCORES // num_items, 3))
Ranker(X, X[:, 0]).best(w, w[:, 0], 2, UserItemPairs.none())
print("nothing")
"""


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute of a core's time, of which a loaded machine may give little
def test_after_a_warm_up_no_usual_training_compiles(tmp_path: Path) -> None:
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    # each dtype and each feedback in half the time of all four
    usual = [kind for kind in warm_up.USUAL if kind in (("float32", "explicit"), ("float64", "implicit"))]

    def said_by(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout

    warm = f"from cofi_dist.fitting.warm_up import warm_up; print(warm_up([{K}], {usual}))"
    assert int(said_by(warm)) > 0
    assert said_by(AFTERWARDS, str(K), json.dumps(usual)) == "nothing\n"


def test_each_process_trains_real_models(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Any] = []
    monkeypatch.setattr(warm_up, "fit", lambda table, **kind: trained.append((table.columns, kind)))
    shares = list(warm_up._shares(K, warm_up.USUAL))
    for kinds in shares:
        warm_up.train_kinds(kinds)
    assert len(trained) == sum(map(len, shares)) == 2 * 3 + 2 * 6
    assert sum("rating" not in columns for columns, _ in trained) == 6
    assert {kind["model"]["num_features"] for _, kind in trained} == {K}


def test_what_cannot_be_kept_ends_it_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(warm_up, "fit", lambda *_, **__: print("why", file=sys.stderr))
    monkeypatch.setattr(LoopCache, "is_kept", False)
    with pytest.raises(SystemExit):
        warm_up.train_kinds([{"has_ratings": False, "sections": {}}])
    failing = [sys.executable, "-c", "import sys; print('a\\nwhy', file=sys.stderr); sys.exit(1)"]
    forever = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with pytest.raises(TrainingError, match=r"^compiling the loops failed: why$"):
        warm_up._run_all([failing, forever])


@pytest.mark.parametrize(
    ("new", "said"), [(0, "all of them are compiled already\n"), (2, "2 loops compiled in 0 s\n")]
)
def test_the_command_says_what_was_compiled(new: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []

    def recorded(features: list[int]) -> int:
        asked.append(features)
        return new

    monkeypatch.setattr(warm_up, "warm_up", recorded)
    runner = CliRunner()
    assert runner.invoke(app, ["warm-up"]).stdout == said
    assert runner.invoke(app, ["warm-up", "--features", "8", "--features", "64"]).exit_code == 0
    assert asked == [[100], [8, 64]]
    assert runner.invoke(app, ["warm-up", "--features", "0"]).exit_code != 0
