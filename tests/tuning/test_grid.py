"""A grid of settings: every combination, checked first, trained once, compared."""

import json
import re
import sys
from pathlib import Path

import polars as pl
import pytest

from cofi_dist.cli.main import main
from cofi_dist.config import load_config
from cofi_dist.distributed.comm import Comm, SoloComm
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.testing import run_ranks
from cofi_dist.tuning.compared import save_table
from cofi_dist.tuning.grid import points, table_of, tune

CONFIG = """
data:
  synthetic: {num_users: 30, num_items: 40, num_ratings: 300}
  validation: {}
model: {num_features: 3}
train: {epochs: 20, lr: 0.01}
validation: {every: 5}
"""
GRID = ["train.lambda_=0.1,5", "data.validation={fraction: 0.3},{by: leave_one_out}"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path / "c.yaml"


def test_every_combination_is_a_point_of_its_own(file: Path, tmp_path: Path) -> None:
    found = points(file, GRID, [], tmp_path / "out")
    assert [p.run_dir.name for p in found] == ["000", "001", "002", "003"]
    configs = [load_config(file, p.overrides) for p in found]
    assert [c.train.lambda_ for c in configs] == [0.1, 0.1, 5.0, 5.0]
    assert [c.data.validation and c.data.validation.by for c in configs] == ["random", "leave_one_out"] * 2


def test_values_with_an_exponent_are_numbers(file: Path, tmp_path: Path) -> None:
    found = points(file, ["train.lr=1e-4,1.5e-4,.5e-2"], [], tmp_path / "grid")
    assert [point.values for point in found] == [
        {"train.lr": "0.0001"},
        {"train.lr": "0.00015"},
        {"train.lr": "0.005"},
    ]


@pytest.mark.parametrize(
    ("grid", "overrides", "says"),
    [
        (["train.lambda_"], [], r"--grid 'train\.lambda_': write KEY=V1,V2"),
        (["train.lambda_="], [], "write KEY=V1,V2"),
        (["=1,2"], [], "write KEY=V1,V2"),
        (["train.lambda_=[1"], [], "write KEY=V1,V2"),
        (["train.lambda_=1,-1"], [], r"c\.yaml \(override\): train\.lambda_: input should be greater than"),
        (["train.lr='1e-3'"], [], r"train\.lr: '1e-3' is text; write 0\.001, without quotes"),
        (["train.lambda=1,2"], [], r"train\.lambda: unknown key"),
        (["train.lr=1,2", "train.lr=3"], [], r"--grid train\.lr: is given twice"),
        (["run_dir=a,b"], [], "--grid run_dir: is given twice, or is not to be varied"),
        (["train.lr=1,2"], ["validation.every=null"], r"validation\.every: tune compares by validation RMSE"),
        (
            ["train.lr=1,2"],
            ["validation.every=null", "validation.metric=map"],
            r"validation\.every: tune compares by validation MAP@10;",
        ),
        (
            ["validation.metric=rmse,ndcg"],
            [],
            r"c\.yaml: validation: tune compares by one figure, but point 0 is judged by RMSE and point 1 by"
            r" NDCG@10; vary neither validation\.metric, k nor users",
        ),
        (
            ["validation.users=20,30"],
            ["validation.metric=ndcg"],
            "point 0 is judged by NDCG@10 of about 20 users and point 1 by NDCG@10 of about 30 users",
        ),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_is_trained(
    grid: list[str], overrides: list[str], says: str, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        points(file, grid, overrides, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_point_of_an_earlier_version_is_not_trained_again(file: Path, tmp_path: Path) -> None:
    grid = points(file, GRID[:1], [], tmp_path / "out")
    tune(file, grid, [], SoloComm(), only=1)
    config, model = grid[1].run_dir / "config.yaml", grid[1].run_dir / "model/factors.safetensors"
    config.write_text(config.read_text().replace("  loggers: []\n", "  tensorboard: false\n"))
    assert "tensorboard" in config.read_text()
    before = model.stat().st_mtime_ns
    tune(file, grid, [], SoloComm(), only=1)
    assert model.stat().st_mtime_ns == before


def test_points_are_trained_once_and_the_table_is_sorted(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = points(file, GRID[:1], [], tmp_path / "out")
    tune(file, grid, [], SoloComm(), only=1)
    assert not grid[0].run_dir.exists()
    before = (grid[1].run_dir / "model/factors.safetensors").stat().st_mtime_ns
    tune(file, grid, [], SoloComm())
    assert (grid[1].run_dir / "model/factors.safetensors").stat().st_mtime_ns == before
    said = capsys.readouterr()
    assert said.out == "", "the table is the command's to print"
    lines = said.err.splitlines()
    assert lines[::2] == ["2/2  train.lambda_=5", "1/2  train.lambda_=0.1"]
    assert all(re.fullmatch(r"    RMSE \d\.\d{5}, of epoch \d+, in \d+\.\d s", line) for line in lines[1::2])
    table = table_of(grid)
    assert table["rmse"].to_list() == sorted(table["rmse"])
    assert pl.read_csv(save_table(table, tmp_path / "out")).height == 2
    result = json.loads((Path(table["run"][0]) / "result.json").read_text())
    assert result["validation_rmse"] == table["rmse"][0]


def test_points_are_sorted_by_the_figure_of_their_lists(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = points(
        file, ["train.lr=1.0e-3,0.1,1.0e+38"], ["validation.metric=ndcg", "validation.k=5"], tmp_path / "o"
    )
    tune(file, grid, ["validation.metric=ndcg", "validation.k=5"], SoloComm())
    table = table_of(grid)
    assert table.columns == ["train.lr", "ndcg", "epoch", "seconds", "run"]
    figures = table["ndcg"].drop_nulls().to_list()
    assert len(figures) == 2
    assert figures == sorted(figures, reverse=True)
    assert table["train.lr"][-1] == "1.0e+38"
    assert pl.read_csv(save_table(table, tmp_path / "o"))["ndcg"][0] == figures[0]
    assert re.search(r"^    NDCG@5 0\.\d{5}, of epoch \d+, in", capsys.readouterr().err, re.MULTILINE)


def test_a_point_that_diverges_is_no_reason_to_stop(file: Path, tmp_path: Path) -> None:
    grid = points(file, ["train.lr=1.0e+38,0.01"], [], tmp_path / "out")
    tune(file, grid, [], SoloComm())
    table = table_of(grid)
    assert table["train.lr"].to_list() == ["0.01", "1.0e+38"]
    assert table["rmse"].is_null().to_list() == [False, True]
    result = json.loads((grid[0].run_dir / "result.json").read_text())
    assert result["diverged"].startswith("epoch ")
    before = (grid[0].run_dir / "result.json").stat().st_mtime_ns
    tune(file, grid, [], SoloComm())
    assert (grid[0].run_dir / "result.json").stat().st_mtime_ns == before, "it would diverge again"


def test_the_command_shows_points_that_all_diverged_or_are_yet_to_come(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["--config", str(file), "--grid", "train.lr=1.0e+38", "--grid", "data.synthetic.seed=1,2"]
    args += ["--grid", "seed=1"]

    def tuned(*more: str) -> list[list[str]]:
        monkeypatch.setattr(sys, "argv", ["cofi-dist", "tune", *args, *more])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert left.value.code == 0, said.err
        return [line.split() for line in said.out.splitlines()]

    header = ["train.lr", "data.synthetic.seed", "seed", "rmse", "mae", "epoch", "seconds", "run"]
    tuned("--only", "1")
    assert tuned("--table")[0] == header
    assert [row[:2] + row[3:5] for row in tuned("--table")[1:]] == [["1.0e+38", "2", "-", "-"]]
    assert len(tuned()) == 3


def test_points_of_different_ratings_are_not_compared(tmp_path: Path) -> None:
    rows = [f"{j},{i},{1 + (i + j) % 5}" for j in range(9) for i in range(9)]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *rows]) + "\n")
    (tmp_path / "c.yaml").write_text(
        CONFIG.replace(
            "synthetic: {num_users: 30, num_items: 40, num_ratings: 300}", f"ratings: {tmp_path / 'r.csv'}"
        )
    )
    grid = points(
        tmp_path / "c.yaml", ["train.lambda_=1,2", "data.centre=item_mean,global_mean"], [], tmp_path / "out"
    )
    tune(tmp_path / "c.yaml", grid, [], SoloComm(), only=0)
    tune(tmp_path / "c.yaml", grid, [], SoloComm(), only=1)
    assert len(table_of(grid)) == 2
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *rows[:-1]]) + "\n")
    tune(tmp_path / "c.yaml", grid, [], SoloComm(), only=2)
    with pytest.raises(RunError, match=r"out/002: was trained on other ratings than .*out/000"):
        table_of(grid)


def test_another_grid_in_the_same_place_is_refused(file: Path, tmp_path: Path) -> None:
    tune(file, points(file, ["train.lambda_=1"], [], tmp_path / "out"), [], SoloComm())
    with pytest.raises(RunError, match="is of another grid or config; give another --output"):
        tune(file, points(file, ["train.lambda_=2"], [], tmp_path / "out"), [], SoloComm())


def _tune(comm: Comm, file: Path, output: Path) -> list[float]:
    grid = points(file, GRID, [], output)
    tune(file, grid, [], comm)
    comm.barrier()
    return table_of(grid)["rmse"].to_list()


def test_two_ranks_tune_alike(file: Path, tmp_path: Path) -> None:
    (alone,) = run_ranks(1, _tune, file, tmp_path / "one", tmp=tmp_path)
    for rmse in run_ranks(2, _tune, file, tmp_path / "two", tmp=tmp_path):
        assert rmse == pytest.approx(alone, rel=1e-4)
