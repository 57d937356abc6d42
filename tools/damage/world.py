"""A small world with every kind of file that this program reads, and the commands that read each."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session
from cofi_dist.model import Model, store
from tools.damage import harms
from tools.damage.harms import Harm

CONFIG = """
data: {ratings: r.csv, test: {fraction: 0.2}, validation: {fraction: 0.1}}
model: {num_features: 4, item_bias: true}
train: {epochs: 20, log_every: 5, lr: 0.02}
validation: {every: 5}
checkpoint: {every: 10}
"""
PREPARED = CONFIG.replace(
    "{ratings: r.csv, test: {fraction: 0.2}, validation: {fraction: 0.1}}", "{prepared: ready}"
)


def call(*arguments: str) -> None:
    app(list(arguments), standalone_mode=False, obj=Session())


def build(directory: Path) -> None:
    """Make finished runs, runs with checkpoints alone (going, gone), prepared ratings (ready) and a grid."""
    directory.mkdir()
    here = Path.cwd()
    os.chdir(directory)
    try:
        rng = random.Random(0)
        rows = [
            f"{user},{item},{rng.randrange(1, 11) / 2}"
            for user in range(1, 41)
            for item in rng.sample(range(100, 130), 12)
        ]
        Path("r.csv").write_text("\n".join(["userId,movieId,rating", *rows]) + "\n")
        Path("pairs.csv").write_text("userId,movieId\n1,100\n2,101\n99,999\n")
        Path("c.yaml").write_text(CONFIG)
        Path("p.yaml").write_text(PREPARED)
        call("train", "--config", "c.yaml", "run_dir=run")
        call("train", "--config", "c.yaml", "run_dir=other", "train.lambda_=2")
        call("evaluate", "run", "--output", "run/evaluation.json")
        put_in_parts(Path("run"), Path("parted"))
        given = ["data.test={fraction: 0.2}", "data.validation={fraction: 0.1}"]
        call("prepare", "r.csv", "--output", "ready", *given)
        call("train", "--config", "p.yaml", "run_dir=of-ready")
        for name in ("going", "gone"):
            call("train", "--config", "c.yaml", f"run_dir={name}", "train.lambda_=3")
            harms.clear(Path(name, "model"))
            harms.clear(Path(name, "result.json"))
        call("tune", "--config", "c.yaml", "--grid", "train.lambda_=1,2", "--output", "grid")
    finally:
        os.chdir(here)


def put_in_parts(run: Path, copy: Path) -> None:
    """Copy a run, with its model in parts, as if it were large."""
    shutil.copytree(run, copy)
    most, store.MOST_IN_ONE_FILE = store.MOST_IN_ONE_FILE, 0
    try:
        Model.load(copy).save(copy / "model", replace=True)
    finally:
        store.MOST_IN_ONE_FILE = most


MORE = ["train.epochs=25", "checkpoint.resume=auto"]
OF_MODEL = [
    ["recommend", "run", "--user", "1"],
    ["evaluate", "run"],
    ["predict", "run", "--pairs", "pairs.csv", "--output", "out.csv"],
    ["recommend", "run", "--all", "--output", "out.parquet"],
    ["similar", "run", "--item", "100"],
    ["update", "run", "--ratings", "r.csv", "--output", "out"],
    ["export", "run", "--format", "npz", "--output", "out"],
    ["export", "run", "--format", "parquet", "--output", "out"],
    ["compare", "run", "other"],
    ["report", "run", "--replace"],
]
OF_PARTS = [["parted" if word == "run" else word for word in command] for command in OF_MODEL]
OF_READY = [
    ["train", "--config", "p.yaml", "run_dir=new", "train.epochs=2"],
    ["evaluate", "of-ready"],
    ["recommend", "of-ready", "--user", "1"],
    ["update", "of-ready", "--ratings", "r.csv", "--output", "out"],
    ["recommend", "of-ready", "--all", "--output", "out.csv"],
    ["train", "--config", "p.yaml", "run_dir=of-ready", *MORE],
    ["report", "of-ready", "--replace"],
]
OF_RESULTS = [
    ["report", "run", "--replace"],
    ["plot", "run", "other", "--output", "out.png"],
    ["compare", "other", "run"],
    ["train", "--config", "c.yaml", "run_dir=run", *MORE],
    ["train", "--config", "c.yaml", "run_dir=run", "checkpoint.resume=auto"],
]
OF_CHECKPOINTS = [
    ["checkpoints", "going"],
    ["compare", "going", "gone"],
    ["train", "--config", "c.yaml", "run_dir=going", "train.lambda_=3", *MORE],
    ["train", "--config", "c.yaml", "run_dir=new", "train.lambda_=3", "checkpoint.resume=going"],
]
OF_GRID = [
    ["tune", "--config", "c.yaml", "--grid", "train.lambda_=1,2", "--output", "grid", "--table"],
    ["tune", "--config", "c.yaml", "--grid", "train.lambda_=1,2", "--output", "grid"],
]


def tries(world: Path) -> list[tuple[str, str, Harm, list[list[str]]]]:
    """File, name of the harm, the harm, and the commands that read the file."""
    found: list[tuple[str, str, Harm, list[list[str]]]] = []

    def add(name: str, commands: list[list[str]], *tables: dict[str, Harm]) -> None:
        for table in (harms.of_any_file(), *tables):
            found.extend((name, what, harm, commands) for what, harm in table.items())

    def of(name: str, table: Callable[[Path], dict[str, Harm]]) -> dict[str, Harm]:
        return table(world / name)

    def signed(path: Path) -> dict[str, Harm]:
        return harms.of_json(path, signed=True)

    add("run/model/factors.safetensors", OF_MODEL, of("run/model/factors.safetensors", harms.of_tensors))
    for name in ("run/model/users.parquet", "run/model/items.parquet"):
        add(name, OF_MODEL, of(name, harms.of_ids))
    add("parted/model/parts.json", OF_PARTS[:3], of("parted/model/parts.json", signed))
    for name in ("users-00000", "items-00000"):
        file = f"parted/model/{name}.safetensors"
        add(file, OF_PARTS, of(file, harms.of_tensors))
    add("run/model/config.yaml", OF_MODEL)
    add("run/model", OF_MODEL)
    add("ready/manifest.json", OF_READY, of("ready/manifest.json", harms.of_json))
    for name in ("ready/users.parquet", "ready/items.parquet"):
        add(name, OF_READY, of(name, harms.of_ids))
    for path in sorted((world / "ready").glob("*.npy")):
        if "by_item" not in path.name and "train_item_start" not in path.name:
            add(f"ready/{path.name}", OF_READY, harms.of_npy(path))
    add("ready", OF_READY)
    add("run/result.json", OF_RESULTS, of("run/result.json", harms.of_json))
    add("run/shards.json", OF_RESULTS, of("run/shards.json", harms.of_json))
    add("run/metrics.jsonl", OF_RESULTS, of("run/metrics.jsonl", harms.of_lines))
    add("run/evaluation.json", OF_RESULTS[:1], of("run/evaluation.json", harms.of_json))
    for name in ("train.log", "config.yaml", ".cofi_dist", ".lock", "STOP", "report.html"):
        add(f"run/{name}", OF_RESULTS)
    newest = "going/checkpoints/epoch-00000020"
    add(f"{newest}/manifest.json", OF_CHECKPOINTS, of(f"{newest}/manifest.json", signed))
    for path in sorted((world / newest).glob("*.safetensors")):
        add(f"{newest}/{path.name}", OF_CHECKPOINTS)
    add(newest, OF_CHECKPOINTS)
    add("going/checkpoints", OF_CHECKPOINTS)
    add("grid/000/result.json", OF_GRID, of("grid/000/result.json", harms.of_json))
    add("grid/000/config.yaml", OF_GRID)
    return found
