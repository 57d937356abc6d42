"""Check before a run begins whether its config, its data and the machine allow it."""

import torch

from cofi_dist.config import Config, DataSection, TrainSection, load_config
from cofi_dist.config.diff import FIXED, PREPARED, changes, is_within
from cofi_dist.data.shard import PIECE_RATINGS
from cofi_dist.data.sources.base import Source
from cofi_dist.errors import CheckpointError, ConfigError, RunError
from cofi_dist.run.directory import RunDirectory
from cofi_dist.run_layout import DATA
from cofi_dist.sharding.ranges import balanced_ranges, ratings_per_range
from cofi_dist.sharding.share import Share
from cofi_dist.system.memory import require_memory
from cofi_dist.training.build import order_fault
from cofi_dist.training.memory_plan import plan_memory

# The percentage of its planned memory that a run surely takes, so that none is refused that might fit.
SURE = 85


def require_blocks(train: TrainSection, device: torch.device, world_size: int) -> None:
    """Raise ConfigError if sums are to be independent of the number of ranks, and cannot be."""
    if train.blocks is None:
        return
    if train.blocks < world_size:
        raise ConfigError(
            f"train.blocks: {train.blocks} are too few for {world_size} ranks; set a higher power of two"
        )
    if fault := order_fault(device):
        raise ConfigError(f"train.reduction: invariant {fault}; take fast")


def require_prepared_alike(config: Config, run: RunDirectory) -> None:
    """Raise CheckpointError if the run's ratings file was prepared with other settings than the config has.

    The run would resume with the prepared ratings, whatever the config says.
    """
    if not (config.data.is_prepared_by_run and run.data.exists() and run.config.exists()):
        return
    earlier = load_config(run.config)
    for key, before, now in changes(earlier.model_dump(exclude_none=True), config):
        if is_within(key, PREPARED):
            raise CheckpointError(
                f"{run}: its ratings were prepared with {key}: {before}, and stay so, but {key} is {now};"
                f" set it back, or begin in another run_dir (from this run with checkpoint.resume={run})"
            )


def require_prepared_ratings(data: DataSection, run: RunDirectory) -> None:
    """Raise RunError if the run's checkpoints belong to ratings that were prepared here, but are gone."""
    if data.is_prepared_by_run and not run.data.exists():
        raise RunError(
            f"{run}: holds checkpoints, but no {DATA}/ with ratings of a file that they are of; go"
            f" on in another run_dir with checkpoint.resume={run}, or lose them with --replace and"
            " checkpoint.resume=none"
        )


def has_same_length(config: Config, run: RunDirectory) -> bool:
    """Return whether the finished run in the directory was to end after as many epochs as the config says.

    Raises:
        CheckpointError: the finished run solved another problem.
    """
    finished = load_config(run.config)
    wanted, done = config.train, finished.train
    if (done.epochs, done.tolerance) != (wanted.epochs, wanted.tolerance):
        return False
    # The ratings in a file have not been read yet, but generated and downloaded ones are known by their keys.
    decisive = (*FIXED, "data.synthetic", "data.name", "seed", "train.init", "train.start")
    changed = [
        key for key, *_ in changes(finished.model_dump(exclude_none=True), config) if is_within(key, decisive)
    ]
    if changed and not config.checkpoint.allow_changes:
        raise CheckpointError(
            f"{run}: holds a finished run of another problem: {', '.join(changed)} differ; begin anew in"
            " another run_dir, or with --replace and checkpoint.resume=none"
        )
    return True


def require_enough_memory(
    config: Config, source: Source, world_size: int, device: torch.device, free_memory: int
) -> None:
    """Raise ConfigError if the largest rank's part of the run does not fit into its memory.

    Args:
        config: the config of the run.
        source: the ratings.
        world_size: number of ranks.
        device: where this rank computes.
        free_memory: bytes that each rank may take.
    """
    train, items, K = config.train, source.num_items, config.model.num_features
    per_user = source.ratings_per_user()
    ranges = balanced_ranges(per_user, world_size)
    users, ratings = max(map(len, ranges)), max(ratings_per_range(ranges, per_user))
    share = Share(
        num_users=source.num_users, num_items=items, users=users, ratings=ratings, world_size=world_size
    )
    plan = plan_memory(config, share, device.type)

    def require(need: int, what: str, advice: str) -> None:
        if SURE * need // 100 > free_memory:
            require_memory(need, free_memory, what, advice)

    where = f"{users} users and {items} items" if world_size == 1 else f"a rank with {users} users"
    require(plan.users + plan.items, f"model.num_features: learning {K} for {where}", "set fewer")
    if train.blocks is not None:
        require(plan.block_errors, f"train.blocks: {train.blocks} for {items} items", "set fewer")
    if train.cost == "dense":
        require(plan.ratings, "train.cost: dense", "set train.cost: sparse")
    require(plan.of_data, f"a rank with {ratings} ratings", "take more ranks, or fewer ratings")


def require_held_out(data: DataSection, source: Source, run: RunDirectory) -> None:
    """Raise ConfigError unless there is at least one rating to validate on."""
    if "validation" not in source.parts:
        store = data.prepared or run.data
        again = "prepare it with" if data.prepared else "begin anew in another run_dir"
        raise ConfigError(
            f"validation.every: {store} was prepared without data.validation; {again}, or leave"
            " validation.every out"
        )
    per_user = source.ratings_per_user()
    pieces = balanced_ranges(per_user, 1 + int(per_user.sum()) // PIECE_RATINGS)
    if not any(len(source.load(users, "validation")) for users in pieces):
        raise ConfigError(
            "data.validation: holds out none of these ratings; hold out more, or leave validation.every out"
        )
