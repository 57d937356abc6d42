"""The loops that trainings look for are compiled before the first of them."""

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
import sys
import polars as pl
import cofi_dist
from cofi_dist.kernels.first_compilation import FirstCompilation

def refuse():
    raise AssertionError("something is compiled")

pairs = [(user, item) for user in range(9) for item in range(7) if (user * item + user + item) % 3]
users, items = [user for user, _ in pairs], [item for _, item in pairs]
table = pl.DataFrame({"userId": users, "itemId": items, "rating": [2.5] * len(pairs)})
for optimizer, feedback, dtype, bias, blocks in itertools.product(
    ("adam", "als"), ("explicit", "implicit"), ("float32", "float64"), (False, True), (1, 4)
):
    train = {"optimizer": optimizer, "dtype": dtype, "epochs": 3, "lambda_": 0.5}
    if feedback == "implicit":
        train |= {"alpha": 2.0, "unknown_weight": 0.3}
    if blocks > 1:
        train |= {"reduction": "invariant", "blocks": blocks}
    FirstCompilation.on_start(refuse)
    fitted = cofi_dist.fit(
        table,
        data={"feedback": feedback, "columns": {"item": "itemId"}},
        model={"num_features": int(sys.argv[1]), "item_bias": bias, "user_bias": bias},
        train=train,
        progress=False,
    )
    fitted.recommend(1, k=2)
print("nothing")
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_after_a_warm_up_no_usual_training_compiles(tmp_path: Path) -> None:
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cofi_dist", "warm-up", "--features", str(K)]
    first, again = (
        subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert "loops compiled in" in first
    assert again == "all of them are compiled already\n"
    done = subprocess.run(
        [sys.executable, "-c", AFTERWARDS, str(K)], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "nothing\n", done.stderr


def test_each_process_trains_real_models(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Any] = []
    monkeypatch.setattr(warm_up, "fit", lambda table, **kind: trained.append((table.columns, kind)))
    shares = list(warm_up._shares(K))
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
