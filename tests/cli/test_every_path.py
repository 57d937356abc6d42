"""Every path that a command takes, under names that others take for patterns, homes, options or markup."""

import ast
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session

CONFIG = """
data: {validation: {}, test: {}}
model: {num_features: 2}
train: {epochs: 4, log_every: 2, lr: 0.01}
validation: {every: 2}
checkpoint: {every: 2}
"""
NAMES = {
    "brackets": "e[1]*?{a,b}",
    "home": "~",
    "marks": " %20#$HOME'\"`!&;|\\ ",
    "dash": "-a\nb\tü[b]",
}
# where a pattern, a home or an escape would lead to
DECOYS = ("e1", "e1xa", "root", "20", "a b")


def cofi(*given: object) -> None:
    app([str(each) for each in given], standalone_mode=False, obj=Session())


def ratings(file: Path, first: int) -> None:
    rows = [(first + j, 50 + i, (j * i) % 5 + 1.0) for j in range(12) for i in range(j % 4 + 5)]
    table = pl.DataFrame(rows, schema=["userId", "movieId", "rating"], orient="row")
    with file.open("wb") as opened:
        table.write_parquet(opened) if file.suffix == ".parquet" else table.write_csv(opened)


def everything(folder: str, first: int) -> None:
    """Every command on paths in `folder`, which is below the working directory."""
    here, run = Path(folder), f"{folder}/run"
    ratings(here / "r.csv", first)
    ratings(here / "r.parquet", first)
    (here / "c.yaml").write_text(CONFIG)
    (here / "m.csv").write_text("movieId,title\n51,A film\n")
    mine = "movieId,rating\n50,5\n51,1\n"
    (here / "mine.csv").write_text(mine)
    config = ("--config", f"{folder}/c.yaml")
    cofi("config", f"{folder}/c.yaml", f"data.ratings={folder}/r.csv", f"run_dir={run}")
    cofi("train", *config, f"data.ratings={folder}/r.csv", f"run_dir={run}")
    cofi(
        "train",
        *config,
        f"data.ratings={folder}/r.parquet",
        f"run_dir={run}-2",
        f"checkpoint.resume={run}",
        "train.epochs=6",
    )
    cofi(
        "prepare", f"{folder}/r.parquet", "--output", f"{folder}/ready", "data.test={}", "data.validation={}"
    )
    prepared = [f"data.prepared={folder}/ready", "data.test=null", "data.validation=null"]
    cofi("train", *config, *prepared, f"run_dir={run}-3")
    for name in ("y", "r"):
        with (here / f"{name}.npy").open("wb") as file:
            np.save(file, np.ones((6, 5)))
    arrays = [
        "data={}",
        f"data.y={folder}/y.npy",
        f"data.r={folder}/r.npy",
        "validation.every=null",
    ]
    cofi("train", *config, *arrays, f"run_dir={run}-4")
    cofi("tune", *config, f"data.ratings={folder}/r.csv", "--grid", "seed=1", "--output", f"{folder}/tune")
    cofi("evaluate", run, "--output", f"{folder}/e.json")
    cofi("evaluate", f"{run}-3", "--ratings", f"{folder}/r.csv", "--prepared", f"{folder}/ready")
    cofi("update", f"{run}-3", "--ratings", f"{folder}/r.csv", "--output", f"{folder}/up")
    cofi("predict", run, "--pairs", f"{folder}/r.csv", "--output", f"{folder}/p.csv")
    cofi("predict", run, "--pairs", f"{folder}/r.parquet", "--output", f"{folder}/p.parquet")
    cofi("recommend", run, "--user", first, "--titles", f"{folder}/m.csv", "-k", 1)
    cofi("recommend", run, "--ratings", f"{folder}/mine.csv", "-k", 1)
    cofi("recommend", run, "--all", "--output", f"{folder}/l.csv", "-k", 2)
    cofi("recommend", f"{run}-3", "--all", "--output", f"{folder}/l.parquet", "-k", 2)
    cofi("similar", run, "--item", 51, "--titles", f"{folder}/m.csv", "-k", 1)
    for form in ("pt", "npz", "safetensors", "parquet"):
        cofi("export", run, "--format", form, "--output", f"{folder}/{form}")
    if find_spec("usearch"):
        cofi("export", run, "--format", "index", "--output", f"{folder}/index")
    if find_spec("matplotlib"):
        cofi("plot", run, f"{run}-2", "--output", f"{folder}/p.png")
        cofi("report", run, "--output", f"{folder}/r.html")
    cofi("compare", run, f"{run}-3")
    cofi("checkpoints", run)
    cofi("slurm", *config, f"data.ratings={folder}/r.csv", f"run_dir={run}", "--output", f"{folder}/s.sbatch")
    cofi("data", "list", "--root", f"{folder}/sets")


MADE = {
    *(
        "c.yaml",
        "r.csv",
        "r.parquet",
        "m.csv",
        "mine.csv",
        "run",
        "run-2",
        "run-3",
        "run-4",
        "ready",
        "y.npy",
        "r.npy",
    ),
    *(
        "tune",
        "e.json",
        "p.csv",
        "p.parquet",
        "l.csv",
        "l.parquet",
        "pt",
        "npz",
        "safetensors",
        "parquet",
        "s.sbatch",
        "up",
    ),
}
OF_EXTRAS = {"index", "p.png", "r.html"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_it_is_a_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "")  # no sbatch is asked
    for folder in (*DECOYS, "home", name):
        Path(folder).mkdir()
    everything("home", 100)
    before = {path: path.read_bytes() for path in Path("home").rglob("*") if path.is_file()}
    for decoy in DECOYS:
        shutil.copytree("home", decoy, dirs_exist_ok=True)
    everything(f"./{name}" if name[0] in "-~" else name, 500)
    assert {each.name for each in Path(name).iterdir()} - OF_EXTRAS == MADE
    assert set(os.listdir()) == {*DECOYS, "home", name}, "nothing is left elsewhere"
    assert not list(Path().rglob(".*.tmp"))
    assert {path: path.read_bytes() for path in Path("home").rglob("*") if path.is_file()} == before
    with (Path(name) / "l.parquet").open("rb") as file:
        assert pl.read_parquet(file)["userId"].min() == 500, "the ids are its own"


def test_polars_is_given_files_and_no_paths() -> None:
    found, package = 0, Path(__file__).parents[2] / "cofi_dist"
    # URLs have no files; what they are, the stand-in for a store tests
    for module in set(package.rglob("*.py")) - {package / "data" / "readers" / "object_store.py"}:
        for call in ast.walk(ast.parse(module.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.args:
                what, _, kind = call.func.attr.partition("_")
                if what in ("read", "scan", "write", "sink") and kind.partition("_")[0] in ("parquet", "csv"):
                    given = call.args[0]
                    found += 1
                    is_file = isinstance(given, ast.Name) and given.id in ("file", "opened")
                    assert is_file or isinstance(given, ast.BinOp), f"{module}: line {call.lineno}"
    assert found > 5
