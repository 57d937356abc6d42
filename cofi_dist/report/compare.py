"""Compare two runs: they are bit-identical, or differ in given places by given amounts."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.errors import RunError
from cofi_dist.model import Model
from cofi_dist.model.row_parts import Rows, blocks_of
from cofi_dist.report.run_files import RunFiles, read_runs
from cofi_dist.report.run_metrics import VALIDATION, Metrics
from cofi_dist.run_layout import CHECKPOINTS, MODEL
from cofi_dist.words import counted


@dataclass(frozen=True)
class Difference:
    """Hold how far two runs differ in one thing that both of them have.

    Attributes:
        name: of a column of metrics.jsonl, or of a tensor of the model or checkpoint.
        bit_identical: whether every bit is the same.
        largest: the largest absolute difference; nan if there is none to compute, as between two shapes.
        where: the epoch or the tensor's index with the largest difference; empty if all bits are the same.
        detail: the first epoch that differs in a column, or a tensor's checksum.
    """

    name: str
    bit_identical: bool
    largest: float
    where: str
    detail: str


def compare(first: Path, second: Path) -> list[Difference]:
    """Compare what two runs printed, and their models; or their newest checkpoints if neither has a model.

    Raises:
        RunError: a directory is not that of a run or cannot be read; or only one of the runs has a model; or
            neither has one, and their newest complete checkpoints are not of the same epoch.
        CheckpointError: a checkpoint cannot be read.
    """
    a, b = read_runs([first, second])
    figures_a, figures_b = _named_figures(a.metrics, b.metrics), _named_figures(b.metrics, a.metrics)
    columns = [
        _compare_column(name, figures_a.get(name, {}), figures_b.get(name, {}))
        for name in dict.fromkeys([*figures_a, *figures_b])
    ]
    return [column for column in columns if column is not None] + _compare_tensors(a, b)


def _named_figures(metrics: Metrics, other: Metrics) -> dict[str, dict[int, float]]:
    """Return each column's values by epoch.

    The name of a figure of lists says their length and the sample of users, if those of the other run differ.
    """
    criterion, epochs = metrics.criterion, metrics.epoch.astype(np.int64).tolist()
    differ = None not in (criterion.k, other.criterion.k) and criterion != other.criterion
    return {
        f"validation {criterion}" if differ and name.startswith(VALIDATION) else name: dict(
            zip(epochs, column.tolist(), strict=True)
        )
        for name, column in metrics.figures.items()
    }


def _compare_column(
    name: str, values_a: Mapping[int, float], values_b: Mapping[int, float]
) -> Difference | None:
    """Compare one column of the metrics epoch by epoch; None if neither run has any value in it."""
    epochs = sorted(values_a.keys() | values_b.keys())
    pairs = [(epoch, values_a.get(epoch, math.nan), values_b.get(epoch, math.nan)) for epoch in epochs]
    if all(math.isnan(x) and math.isnan(y) for _, x, y in pairs):
        return None
    different = [(epoch, x, y) for epoch, x, y in pairs if x != y and not (math.isnan(x) and math.isnan(y))]
    if not different:
        return Difference(name, True, 0.0, "", counted(len(epochs), "epoch"))
    in_one_run = sum(math.isnan(x) or math.isnan(y) for _, x, y in different)
    gaps = {epoch: abs(x - y) for epoch, x, y in different if not (math.isnan(x) or math.isnan(y))}
    detail = f"first in epoch {different[0][0]}"
    if in_one_run:
        detail += f"; {in_one_run} only in one run"
    if not gaps:
        return Difference(name, False, math.nan, "", detail)
    worst = max(gaps, key=lambda epoch: gaps[epoch])
    return Difference(name, False, gaps[worst], f"epoch {worst}", detail)


def _compare_tensors(a: RunFiles, b: RunFiles) -> list[Difference]:
    """Compare the tensors of two models, or of two checkpoints, by name."""
    have_model = [(run.directory / MODEL).is_dir() for run in (a, b)]
    if any(have_model) and not all(have_model):
        lacking = (b if have_model[0] else a).directory
        raise RunError(f"{lacking}: has no model to compare; is the run finished?")
    if all(have_model):
        tensors_a, tensors_b = (Model.load(run.directory).arrays.rows_by_name for run in (a, b))
    else:
        (epoch_a, tensors_a), (epoch_b, tensors_b) = (_load_checkpoint(run.directory) for run in (a, b))
        if epoch_a != epoch_b:
            raise RunError(
                f"{b.directory}: its newest checkpoint is of epoch {epoch_b}, that of {a.directory} of epoch"
                f" {epoch_a}, and neither run has a model; train both to the same epoch"
            )
    missing: Rows = np.empty(0, np.float32)
    return [
        _compare_tensor(name, tensors_a.get(name, missing), tensors_b.get(name, missing))
        for name in dict.fromkeys([*tensors_a, *tensors_b])
    ]


def _load_checkpoint(run: Path) -> tuple[int, dict[str, Rows]]:
    """Return the epoch and the tensors of a run's newest complete checkpoint."""
    from cofi_dist.checkpoint.reader import find_newest, load_tensors  # torch, which models need not

    checkpoint, _ = find_newest(run / CHECKPOINTS, SoloComm())
    if checkpoint is None:
        raise RunError(f"{run}: has neither a model nor a whole checkpoint to compare; is the run finished?")
    return checkpoint.epoch, {name: rows.numpy() for name, rows in load_tensors(checkpoint).items()}


def _compare_tensor(name: str, a: Rows, b: Rows) -> Difference:
    """Compare every bit of two tensors of one name."""
    checksums = [_checksum(t) for t in (a, b)]
    if a.shape != b.shape or a.dtype != b.dtype:
        kinds = [f"{t.dtype} {t.shape}" for t in (a, b)]
        return Difference(name, False, math.nan, "", " and ".join(kinds))
    if checksums[0] == checksums[1]:
        return Difference(name, True, 0.0, "", f"sha256 {checksums[0]}")
    gap, where = _largest_gap(a, b)
    return Difference(name, False, gap, f"[{where}]", f"sha256 {checksums[0]}, {checksums[1]}")


def _checksum(rows: Rows) -> str:
    digest = hashlib.sha256()
    for _, block in blocks_of(rows):
        digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()[:16]


def _largest_gap(a: Rows, b: Rows) -> tuple[float, str]:
    """Return by how much two tensors differ at most, NaN if one of them has one, and where."""
    found = list[tuple[float, str]]()
    for some, block in blocks_of(a):
        gaps = np.abs(block.astype(np.float64) - b[some].astype(np.float64))
        first, *others = np.unravel_index(int(np.argmax(gaps)), gaps.shape)
        found.append((float(gaps.max()), " ".join(map(str, (first + some.start, *others)))))
    return found[int(np.argmax([gap for gap, _ in found]))]
