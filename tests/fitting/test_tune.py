"""`cofi_dist.tune`: the search of the command, on a table, with its result in hand."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import cofi_dist
from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from cofi_dist.errors import ConfigError, RunError

pytest.importorskip("optuna")

SPACE = {"train.lambda_": "log:0.1:100", "model.num_features": [2, 4]}
SETTINGS: dict[str, Any] = {
    "data": {"validation": {}},
    "train": {"epochs": 40, "lr": 0.01, "dtype": "float64"},
    "validation": {"every": 5},
}


def table() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    pairs = rng.permutation(30 * 40)[:600]
    stars = 3 + np.sin(pairs // 40) + np.cos(pairs % 40) + rng.normal(0, 0.5, 600)
    return pl.DataFrame({"userId": pairs // 40, "movieId": pairs % 40, "rating": stars})


def test_a_table_is_searched_as_its_file_is_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = cofi_dist.tune(table(), SPACE, trials=12, output="python", **SETTINGS)
    assert found.table["state"][0] == "done"
    assert found.figure == found.table["rmse"][0] == found.table["rmse"].min()
    assert set(found.settings) == set(SPACE)
    model = found.model()
    assert model.config.train.lambda_ == found.settings["train.lambda_"]
    assert model.factors.X.shape == (40, found.settings["model.num_features"])
    assert capsys.readouterr().err.startswith("trial 0 of 12  train.lambda_=")

    table().write_csv("r.csv")
    Path("c.yaml").write_text(
        "data: {ratings: r.csv, validation: {}}\ntrain: {epochs: 40, lr: 0.01, dtype: float64}\n"
        "validation: {every: 5}\n"
    )
    given = ["--space", "train.lambda_=log:0.1:100", "--space", "model.num_features=2,4", "--trials", "12"]
    app(["tune", "--config", "c.yaml", "--output", "command", *given], standalone_mode=False, obj=Session())
    command = pl.read_csv("command/table.csv")
    columns = ["trial", "state", "train.lambda_", "model.num_features", "rmse", "mae", "epoch"]
    assert command.select(columns).equals(found.table.select(columns))


def test_without_output_nothing_stays_but_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = cofi_dist.tune(table(), SPACE, trials=2, progress=False, **SETTINGS)
    model = found.model()
    assert found.run_dir.is_relative_to(tmp_path)
    assert found.importances == {}, "two trials tell nothing"
    del found
    gc.collect()
    assert list(tmp_path.iterdir()) == []
    assert len(model.recommend(table()["userId"][0], k=2)) == 2


@pytest.mark.parametrize(
    ("space", "arguments", "says"),
    [
        ([("a", 1)], {}, "^space: must be a mapping, such as a dict"),
        ({}, {}, "^space: nothing varies"),
        ({"train.lr": 3}, {}, r"^space: train\.lr: must be a list of values, or a range"),
        ({"train.lr": "log:1"}, {}, r"^space 'train\.lr=log:1': write two bounds"),
        (
            {"train.lambda_": [1]},
            {"train": {"lambda_": 3}},
            r"^train\.lambda_: is set and varied by",
        ),
        ({"train.lambda": [1]}, {}, r"train\.lambda: unknown key"),
        ({"seed": [1]}, {"trials": 0}, "^trials: must be a whole number above 0, not 0"),
        ({"seed": [1]}, {"output": 3}, "^output: must be a path, not 3"),
        ({"seed": [1]}, {"validation": None}, r"^cofi_dist\.tune: validation\.every: tune compares"),
    ],
)
def test_a_wrong_argument_is_one_line(
    space: Any, arguments: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match=says):
        cofi_dist.tune(table(), space, **{"trials": 1, **SETTINGS, **arguments})
    assert list(tmp_path.iterdir()) == [], "no directory is left"


def test_other_ratings_in_the_same_place_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cofi_dist.tune(table(), SPACE, trials=1, output=out, progress=False, **SETTINGS)
    with pytest.raises(RunError, match=r"was trained on other ratings than .*trial-0000"):
        cofi_dist.tune(table()[:-50], SPACE, trials=2, output=out, progress=False, **SETTINGS)


RANKS = """
import json, os, sys
from pathlib import Path
import cofi_dist
from tests.fitting.test_tune import SETTINGS, SPACE, table

ratings = table() if os.environ["RANK"] == "0" else None
try:
    cofi_dist.tune(ratings, SPACE, trials=1, **SETTINGS)
except cofi_dist.errors.ConfigError as error:
    refused = str(error)
found = cofi_dist.tune(ratings, SPACE, trials=7, output=sys.argv[1], progress=False, **SETTINGS)
said = [found.settings, found.figure, found.table["state"].to_list(), found.model().items.raw[0], refused]
Path(sys.argv[1], "rank-" + os.environ["RANK"]).write_text(json.dumps(said))
"""


def test_ranks_of_torchrun_search_together(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(RANKS)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "script.py"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads((tmp_path / "out" / f"rank-{rank}").read_text()) for rank in (0, 1)]
    assert said[0] == said[1]
    settings, _, states, _, refused = said[0]
    assert set(settings) == set(SPACE)
    assert len(states) == 7
    assert refused == "output: several ranks share the trials in it; set it"


PROGRAM = """
import warnings, sys
import cofi_dist
from tests.fitting.test_tune import SETTINGS, SPACE, table

settings = {**SETTINGS, "train": {"epochs": 3000, "lr": 0.001}, "validation": {"every": 1000}}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    found = cofi_dist.tune(table(), SPACE, trials=500, **settings)
print(len(found.table), [str(each.message) for each in caught])
"""


def test_an_interrupt_returns_what_was_found(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as program:
        assert program.stderr is not None
        try:
            seen = [next(program.stderr) for _ in range(3)]
            time.sleep(0.1)
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=120)
        finally:
            program.kill()  # 500 trials take hours
    assert seen[0].startswith("trial 0 of 500")
    assert program.returncode == 0, err
    assert "the search was stopped" in out, out
    assert "by an interrupt" in out
    assert int(out.split()[0]) < 500
