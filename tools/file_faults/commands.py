"""The commands that write, each with what it leaves behind in a form that can be compared."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from cofi_dist.checkpoint.manifest import list_checkpoints, read_manifest, verify
from cofi_dist.errors import CheckpointError
from tests.support.dataset_server import Handler, Site

SETTINGS = """
model: {num_features: 3}
train: {epochs: 2, log_every: 1, lr: 0.05, cost: dense, dtype: float64}
validation: {every: 1}
checkpoint: {every: 1, keep: 1}
run_dir: run
"""
CONFIG = f"data: {{ratings: ratings.csv, validation: {{}}}}{SETTINGS}"
TUNED = f"data: {{synthetic: {{num_users: 9, num_items: 9, num_ratings: 40}}, validation: {{}}}}{SETTINGS}"
Left = dict[str, Any]


@dataclass(frozen=True)
class Command:
    """A command line, and what is to be looked at when it has ended.

    Attributes:
        words: after `cofi-dist`.
        targets: the files and directories that it makes or replaces, each of them whole or not there.
        run: the run directory that it trains in, if it does.
        keeps: a target that is there from the start, and at any time.
        poor: on a file system without exchange of names, sync of folders, and rename of `model`.
    """

    words: str
    targets: tuple[str, ...] = ()
    run: str = ""
    keeps: str = ""
    poor: bool = False


def _export(form: str, *names: str) -> dict[str, Command]:
    words = f"export run --format {form} --output"
    return {
        f"export {form}": Command(f"{words} out", ("out",)),
        f"export {form} --replace": Command(f"{words} old --replace", tuple(f"old/{name}" for name in names)),
    }


COMMANDS = {
    "train": Command("train --config c.yaml run_dir=new checkpoint.resume=auto", run="new"),
    "train, more epochs": Command(
        "train --config c.yaml checkpoint.resume=auto train.epochs=4", run="run", keeps="run/model"
    ),
    "train, more epochs, poor file system": Command(
        "train --config c.yaml checkpoint.resume=auto train.epochs=4", run="run", poor=True
    ),
    "train --replace": Command("train --config c.yaml seed=2 --replace", run="run"),
    "tune": Command(
        "tune --config t.yaml --grid train.lambda_=1,2 --output grid checkpoint.resume=auto",
        ("grid/table.csv",),
        run="grid/001",
    ),
    "tune, a search": Command(
        "tune --config t.yaml --space train.lambda_=log:1:2 --trials 2 --output search",
        ("search/table.csv",),
        run="search/trial-0001",
    ),
    "update": Command("update run --ratings ratings.csv --output up", ("up",)),
    "prepare": Command("prepare ratings.csv --output prepared", ("prepared",)),
    **_export("pt", "X.pt", "W.pt", "b.pt"),
    **_export("npz", "factors.npz"),
    **_export("safetensors", "factors.safetensors"),
    **_export("parquet", "items.parquet", "users.parquet"),
    **_export("index", "items.usearch", "item_ids.parquet"),
    "evaluate": Command("evaluate run --output e.json", ("e.json",)),
    "predict": Command("predict run --pairs ratings.csv --output p.csv", ("p.csv",)),
    "recommend, parquet": Command("recommend run --all --output r.parquet", ("r.parquet",)),
    "recommend, csv": Command("recommend run --all --output r.csv", ("r.csv",)),
    "recommend, parts": Command("recommend run --all --output lists", ("lists",)),
    "plot": Command("plot run", ("run/plot.png",)),
    "report": Command("report run", ("run/report.html",)),
    "slurm": Command("slurm --config c.yaml", ("c.sbatch",)),
    "data get": Command("data get toy --root d", ("d/toy",)),
}


def make_base(folder: Path, run: Callable[[str], None]) -> None:
    """What all commands find: ratings, a config, a run that is finished, an export of another run.

    Args:
        folder: is there and empty.
        run: does a command line in it.
    """
    rng = random.Random(0)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(12):
        lines += [
            f"{user},{item},{rng.randrange(1, 11) / 2},{rng.randrange(10**9)}"
            for item in sorted(rng.sample(range(20), 9))
        ]
    (folder / "ratings.csv").write_text("\n".join([*lines, ""]))
    (folder / "c.yaml").write_text(CONFIG)
    (folder / "t.yaml").write_text(TUNED)
    run("train --config c.yaml run_dir=other seed=3")
    for form in ("pt", "npz", "safetensors", "parquet", "index"):
        run(f"export other --format {form} --output e{form}")
        for file in (folder / f"e{form}").iterdir():
            file.rename(folder / file.name)
        (folder / f"e{form}").rmdir()
    (folder / "old").mkdir()
    for pattern in ("*.pt", "factors.*", "*.parquet", "*.usearch"):
        for file in folder.glob(pattern):
            file.rename(folder / "old" / file.name)
    run("train --config c.yaml")


def left_by(command: Command, folder: Path) -> Left:
    """What is there of a command's results; of times, nothing."""
    left: Left = {name: _content(folder / name) for name in command.targets}
    if command.run:
        run = folder / command.run
        left |= {name: _content(run / name) for name in ("model", "data", "result.json", "config.yaml")}
        left["costs"] = _costs(run / "metrics.jsonl")
    return left


def checkpoints_of(command: Command, folder: Path) -> list[str]:
    """The run's checkpoints; the names of broken ones begin with BROKEN."""
    found = []
    for directory in list_checkpoints(folder / command.run / "checkpoints") if command.run else []:
        try:
            for part in read_manifest(directory).parts:
                verify(directory, part)
            found.append(directory.name)
        except CheckpointError:
            found.append(f"BROKEN {directory.name}")
    return found


def left_over(folder: Path) -> list[str]:
    """What no command that has ended leaves."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob(".*")
        if path.name.endswith((".tmp", ".part", ".mark", ".lock"))
    ]


def _content(path: Path) -> Any:
    if path.is_dir():
        return {str(file.relative_to(path)): _content(file) for file in path.rglob("*") if file.is_file()}
    if not path.exists():
        return None
    content = path.read_bytes()
    if path.name == "result.json":
        said = json.loads(content)
        return {key: value for key, value in said.items() if key != "seconds"}
    if path.name == "table.csv":
        lines = content.decode().splitlines()
        drop = lines[0].split(",").index("seconds")
        return [[cell for k, cell in enumerate(line.split(",")) if k != drop] for line in lines]
    return hashlib.sha256(content).hexdigest()


def _costs(file: Path) -> list[Any]:
    if not file.exists():
        return []
    said = []
    for line in file.read_text().splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            return ["BROKEN", line]
        if "cost" in values:
            said.append([values["epoch"], values["cost"], values.get("validation_rmse")])
    return said


@contextmanager
def served() -> Iterator[str]:
    """Yields the address of an archive on this machine."""
    handler = type("HandlerOfSite", (Handler,), {"site": Site()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/toy.zip"
        server.shutdown()
