"""One training run from config to model; every rank calls `train`."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cofi_dist.config import Config, Data, load_config
from cofi_dist.cost import Cost
from cofi_dist.cost.dense import DenseCost, require_memory
from cofi_dist.cost.kernels import choose_pair_dot
from cofi_dist.cost.regulariser import Regulariser, count_scales
from cofi_dist.cost.sparse import SparseCost
from cofi_dist.data.centre import ItemSums, centred, centres, item_sums
from cofi_dist.data.shards import BLOCK_RATINGS, UserRange, UserShard, plan, ratings_of
from cofi_dist.data.sources import Source, open_source, prepare, ratings_file
from cofi_dist.distributed import Comm, choose_device
from cofi_dist.errors import CofiError, ConfigError
from cofi_dist.factors import Factors, draw_factors
from cofi_dist.model import Facts, Model
from cofi_dist.rundir import (
    DATA,
    MODEL,
    begin_run,
    discard_run,
    refuse_run,
    save_config,
    save_result,
    save_shards,
)
from cofi_dist.runlog import QuietLog, RunLog, require_tensorboard
from cofi_dist.shardtable import shard_table
from cofi_dist.trainer import DivergedError, Trainer
from cofi_dist.validation import Validation


def train(
    file: Path, overrides: Sequence[str], comm: Comm, *, replace: bool = False, quiet: bool = False
) -> Path:
    """Train as the config says; rank 0 writes the run directory.

    Collective: all ranks call it.

    Args:
        file: YAML config.
        overrides: KEY=VALUE.
        comm: the ranks.
        replace: a run that the run directory holds may be lost.
        quiet: say nothing but in train.log.

    Returns:
        The run directory.

    Raises:
        CofiError: the config, the data or the run directory can't be used, or training failed.
    """
    config = comm.on_first(lambda: load_config(file, overrides))
    run_dir, settings = Path(config.run_dir), config.train
    device = choose_device(config.device, comm)
    comm.on_first(lambda: _begin(config, file, device, comm, replace=replace))
    try:
        problem = _load(config, run_dir, device, comm)
        validation = _validation(problem)
        comm.agree()
    except CofiError:
        if comm.rank == 0:
            discard_run(run_dir)
        raise
    log = QuietLog()
    if comm.rank == 0:
        log = RunLog(
            run_dir,
            settings.epochs,
            tensorboard=settings.tensorboard,
            validates=validation is not None,
            quiet=quiet,
        )
    with log:
        _say_start(problem, comm, log)
        comm.on_first(lambda: save_config(run_dir, config.to_yaml()))
        comm.on_first(lambda: save_shards(run_dir, _shards(problem, comm)))
        _fit(problem, validation, comm, log)
    return run_dir


@dataclass(frozen=True)
class Problem:
    """What one rank works on.

    Attributes:
        per_user: ratings of every user of every rank, (num_users,).
        ranges: every rank's users.
        shard: this rank's ratings, item mean removed.
        sums: of the training ratings of all ranks, by item.
        means: what was removed, (num_items,).
        fingerprint: of the source.
    """

    config: Config
    device: torch.device
    source: Source
    per_user: NDArray[np.int64]
    ranges: Sequence[UserRange]
    shard: UserShard
    sums: ItemSums
    means: NDArray[np.float64]
    fingerprint: str

    @property
    def dtype(self) -> torch.dtype:
        """Of the factors; mps has no float64."""
        return (
            torch.float64
            if self.config.train.dtype == "float64" and self.device.type != "mps"
            else torch.float32
        )

    @property
    def num_ratings(self) -> int:
        """For training, of all ranks."""
        return int(self.sums.count.sum())


def _begin(config: Config, file: Path, device: torch.device, comm: Comm, *, replace: bool) -> None:
    """Rank 0: everything that may be refused is, before the run directory is touched."""
    run_dir, data = Path(config.run_dir), config.data
    inputs = [Path(name) for name in (data.ratings, data.y, data.r, data.prepared) if name]
    if data.name is not None:
        inputs.append(ratings_file(data))
    refuse_run(run_dir, replace=replace, inputs=[file, *inputs])
    if config.train.tensorboard:
        require_tensorboard()
    with prepare(data, run_dir / DATA) as prepared:
        source = prepared.source
        if config.train.cost == "dense":
            ranges = plan(source.ratings_per_user(), comm.world_size)
            require_memory(ranges, source.num_items, device, comm.ranks_here)
        if config.validation.every is not None:
            _require_held_out(config.data, source)
        begin_run(run_dir)
        prepared.keep(run_dir / DATA)


def _require_held_out(data: Data, source: Source) -> None:
    """Raise ConfigError unless there is a rating to validate on."""
    if "validation" not in source.parts:
        raise ConfigError(
            f"validation.every: {data.prepared} was prepared without data.validation;"
            " prepare it with, or leave validation.every out"
        )
    per_user = source.ratings_per_user()
    pieces = plan(per_user, 1 + int(per_user.sum()) // BLOCK_RATINGS)
    if not any(len(source.load(users, "validation")) for users in pieces):
        raise ConfigError(
            "data.validation: holds out none of these ratings; hold out more, or leave validation.every out"
        )


def _load(config: Config, run_dir: Path, device: torch.device, comm: Comm) -> Problem:
    source = open_source(config.data, run_dir / DATA)
    num_items, per_user = source.num_items, source.ratings_per_user()
    ranges = plan(per_user, comm.world_size)
    users = ranges[comm.rank]
    ratings = source.load(users)
    sums = source.sums or item_sums(ratings, num_items, comm)
    centre, damping = (config.data.centre, config.data.damping) if config.data.centre else source.centre
    means = centres(sums, centre, damping)
    shard = UserShard(users, num_items, centred(ratings, means))
    fingerprint = comm.on_first(source.fingerprint)
    return Problem(config, device, source, per_user, ranges, shard, sums, means, fingerprint)


def _say_start(problem: Problem, comm: Comm, log: QuietLog) -> None:
    """The shards, and the notebook's first lines."""
    config, source, device = problem.config, problem.source, problem.device
    for text in source.notes:
        log.note(text)
    log.note(f"world size {comm.world_size}, backend {comm.backend(device)}")
    for text in shard_table(problem.ranges, problem.per_user, source.num_items, config):
        log.note(text)
    if device.type == "mps":
        log.note("mps has no float64: ratings, factors and costs are float32; not the notebook's bits")
    log.line(f"Using {device.type} device")
    log.line(f"Num. features: {config.model.num_features}")
    log.line(f"Num. movies:   {source.num_items}")
    log.line(f"Num. users:    {source.num_users}")


def _shards(problem: Problem, comm: Comm) -> dict[str, Any]:
    """How the run is spread; held-out ratings are counted, as in the table of shards."""
    ratings = ratings_of(problem.ranges, problem.per_user)
    return {
        "world_size": comm.world_size,
        "device": problem.device.type,
        "backend": comm.backend(problem.device),
        "ranks": [
            {"start": users.start, "stop": users.stop, "ratings": count}
            for users, count in zip(problem.ranges, ratings, strict=True)
        ],
    }


def _validation(problem: Problem) -> Validation | None:
    """This rank's held-out ratings, where the config asks for validation."""
    settings, source = problem.config.validation, problem.source
    if settings.every is None:
        return None
    return Validation(
        source.load(problem.shard.users, "validation"),
        problem.means,
        source.scale,
        problem.device,
        every=settings.every,
        patience=settings.patience,
    )


def _fit(problem: Problem, validation: Validation | None, comm: Comm, log: QuietLog) -> None:
    """Train and save the model; that of the last good factors, if training went astray."""
    config, shard = problem.config, problem.shard
    factors = draw_factors(
        problem.source.num_items,
        problem.source.num_users,
        config.model.num_features,
        seed=config.seed,
        users=shard.users,
        device=problem.device,
        dtype=problem.dtype,
        item_bias=config.model.item_bias,
    )
    scales = count_scales(config.train.lambda_power, problem.sums.count, shard.ratings_per_user(), factors)
    regulariser = Regulariser(config.train.lambda_, config.train.lambda_b, *scales)
    cost, target = _cost(problem, log), Path(config.run_dir) / MODEL
    trainer = Trainer(cost, factors, config.train, problem.num_ratings, comm, regulariser, validation)
    start = time.perf_counter()
    try:
        epoch, accuracy = trainer.run(log)
    except DivergedError as error:
        kept = "there is no good epoch whose model could be kept"
        if error.kept is not None:
            kept = f"the model of epoch {error.kept} is kept in {target}"
            _save(problem, factors, comm, target, diverged=str(error))
        seconds = time.perf_counter() - start
        diverged = {"epoch": error.kept, "seconds": seconds, "diverged": str(error)}
        diverged["fingerprint"] = problem.fingerprint
        comm.on_first(lambda: save_result(Path(config.run_dir), diverged))
        raise DivergedError(f"{error}; {kept}; try a lower train.lr", error.kept) from None
    seconds = time.perf_counter() - start
    result: dict[str, Any] = {"epoch": epoch, "seconds": seconds, "fingerprint": problem.fingerprint}
    if accuracy is not None:
        result |= {"validation_rmse": accuracy.rmse, "validation_mae": accuracy.mae}
    _save(problem, factors, comm, target)
    comm.on_first(lambda: save_result(Path(config.run_dir), result))


def _cost(problem: Problem, log: QuietLog) -> Cost:
    config, device = problem.config, problem.device
    if config.train.cost == "dense":
        return DenseCost(problem.shard, device)
    dtype = problem.dtype
    features, epochs = config.model.num_features, config.train.epochs
    ratings_a_rank = problem.num_ratings // len(problem.ranges)
    pair_dot, why = choose_pair_dot(ratings_a_rank, features, epochs, device, dtype)
    log.note(why)
    return SparseCost(problem.shard, device, dtype, pair_dot)


def _save(problem: Problem, factors: Factors, comm: Comm, directory: Path, *, diverged: str = "") -> None:
    model = _gather(problem, factors, comm, diverged)
    comm.on_first(lambda: model.save(directory))


def _gather(problem: Problem, factors: Factors, comm: Comm, diverged: str) -> Model:
    """The whole model on rank 0; on the others, their own rows of it."""
    counts = [len(users) for users in problem.ranges]
    W = comm.gather_rows(factors.W, counts)
    b = comm.gather_rows(factors.b[0], counts)[None]
    user_counts = comm.gather_rows(
        torch.from_numpy(problem.shard.ratings_per_user().astype(np.float64)), counts
    )
    source, sums = problem.source, problem.sums
    c = None if factors.c is None else factors.c.cpu()
    return Model(
        Factors(factors.X.cpu(), W, b, c),
        torch.from_numpy(problem.means),
        torch.from_numpy(sums.count),
        user_counts,
        Facts(sums.global_mean, *source.scale, problem.fingerprint, source.columns, diverged),
        *source.ids,
        problem.config.with_absolute_data(),
    )
