"""A model in parts, larger than the memory it is used with: written by two ranks, loaded, and asked.

    python -m benchmarks.model_parts [--users 5e7] [--items 1e5] [--features 32] [--ranks 2] [--every-row]
        [--folder FOLDER]

The factors are made up: normal, float32, drawn by each rank for its own users and items. Ids are numbers.
Each rank is a process, with gloo between them, and so is whoever loads the model. Memory is what is not
mapped from a file (RssAnon and RssShmem), sampled every 2 ms: its peak in each phase, less what the process
began with, beside the pages of files that were mapped at the end of the phase. Of the ranks, it is that of
the busiest, less its own factors, which training leaves it with. Linux only.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.machine import machine
from cofi_dist.config import ColumnNames, resolve
from cofi_dist.data.ids import IdMap
from cofi_dist.distributed.comm import Comm
from cofi_dist.model import Model, TrainingDataFacts
from cofi_dist.model.export import export
from cofi_dist.model.parts import OwnRows, Side
from cofi_dist.model.shared_save import save_shared
from cofi_dist.model.store import About
from cofi_dist.sharding.ranges import UserRange
from cofi_dist.testing import run_ranks

LISTS = 1000
DRAWN_AT_ONCE = 2**20  # rows


def held() -> tuple[int, int]:
    """Bytes of this process that are not mapped from a file, and those that are."""
    said = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    of_its_own, of_files, shared = (
        1024 * int(said[name].split()[0]) for name in ("RssAnon", "RssFile", "RssShmem")
    )
    return of_its_own + shared, of_files


@dataclass
class Phases:
    """What each phase took: seconds, peak of memory, and pages of files."""

    began_with: int = field(default_factory=lambda: held()[0])
    rows: dict[str, tuple[float, int, int]] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Watch the memory until the context ends."""
        peak, ended = [0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.002):
                peak[0] = max(peak[0], held()[0])

        watcher, begun = threading.Thread(target=watch), time.perf_counter()
        watcher.start()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begun
            ended.set()
            watcher.join()
        now, of_files = held()
        self.rows[name] = seconds, max(peak[0], now) - self.began_with, of_files


@dataclass(frozen=True)
class Shape:
    """Of the model."""

    users: int
    items: int
    features: int


def own_rows(side: Side, rows: UserRange, features: int, seed: int) -> OwnRows:
    """Made-up rows of a rank."""
    rng = np.random.default_rng(seed)
    matrix = np.empty((len(rows), features), np.float32)
    for start in range(0, len(rows), DRAWN_AT_ONCE):
        rng.standard_normal(out=matrix[start : start + DRAWN_AT_ONCE], dtype=np.float32)
    counts = rng.integers(1, 50, len(rows)).astype(np.float64)
    bias = rng.standard_normal(len(rows), dtype=np.float32)
    if side == "users":
        return OwnRows(side, [rows], {"W": matrix, "b": bias, "user_counts": counts})
    means = 3 + rng.normal(size=len(rows)) / 3
    return OwnRows(side, [rows], {"X": matrix, "c": bias, "item_means": means, "item_counts": counts})


def write(comm: Comm, shape: Shape, directory: Path) -> Phases:
    """What a rank does."""

    def share(count: int) -> UserRange:
        return UserRange(*(count * rank // comm.world_size for rank in (comm.rank, comm.rank + 1)))

    own = [
        own_rows("users", share(shape.users), shape.features, comm.rank),
        own_rows("items", share(shape.items), shape.features, 1000 + comm.rank),
    ]
    config = resolve({"data": {"ratings": "made-up.csv"}}, run_dir=str(directory))
    facts = TrainingDataFacts(3.0, 0.5, 5.0, "made up", ColumnNames())
    phases = Phases()
    with phases.phase(f"written by {comm.world_size} ranks"):
        about = About(facts, IdMap.row_numbers(shape.users), IdMap.row_numbers(shape.items), config)
        save_shared(directory, own, about, comm)
    return phases


def ask(_: Comm, directory: Path, exported: Path | None) -> Phases:
    """What whoever loads the model does."""
    phases = Phases()
    with phases.phase("loaded"):
        model = Model.load(directory)
    with phases.phase("one user's list"):
        model.recommend(7)
    some = np.random.default_rng(0).choice(len(model.users), LISTS, replace=False)
    with phases.phase(f"lists of {LISTS:,} users"):
        lists = model.recommend(some, 10)
    assert len(lists) == 10 * LISTS
    with phases.phase("a user folded in"):
        model.fold_in([1, 2, 3], [4.0, 3.0, 5.0])
    if exported is not None:
        with phases.phase("users like one"):
            model.similar_users(7)
        with phases.phase("exported to Parquet"):
            export(model, "parquet", exported, replace=False)
    return phases


def main() -> None:
    """The ranks, then the one who asks, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=float, default=5e7)
    parser.add_argument("--items", type=float, default=1e5)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--every-row", action="store_true", help="ask what reads all of them, too")
    parser.add_argument("--folder", type=Path, help="on the disk where the model is to be")
    args = parser.parse_args()
    shape = Shape(int(args.users), int(args.items), args.features)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        tmp, directory = Path(folder), Path(folder) / "model"
        ranks = run_ranks(args.ranks, write, shape, directory, tmp=tmp)
        size = sum(file.stat().st_size for file in directory.iterdir())
        exported = tmp / "exported" if args.every_row else None
        (asked,) = run_ranks(1, ask, directory, exported, tmp=tmp)
    print(machine())
    print(
        f"{shape.users:,} users, {shape.items:,} items, {shape.features} features:"
        f" {(shape.users + shape.items) * shape.features / 1e9:.2f} billion numbers, {size / 1e9:.2f} GB\n"
    )
    print("| | seconds | peak of memory | of mapped files |\n|---|---|---|---|")
    (name,) = ranks[0].rows
    rows = {name: max(phases.rows[name] for phases in ranks), **asked.rows}
    for name, (seconds, peak, of_files) in rows.items():
        print(f"| {name} | {seconds:.2f} | {peak / 1e9:.2f} GB | {of_files / 1e9:.2f} GB |")


if __name__ == "__main__":
    main()
