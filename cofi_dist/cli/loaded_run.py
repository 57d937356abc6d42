"""Load what a command needs on every rank: on rank 0 first, so that a mistake is reported only once."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cofi_dist.cli.tables import warn_if_diverged
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CofiError, ConfigError

if TYPE_CHECKING:
    from cofi_dist.model import Model, RunRatings

T = TypeVar("T")


def load_model(comm: Comm, run: Path) -> "Model":
    """Load a model, the same on all ranks. Collective: all ranks call it."""
    from cofi_dist.model import Model

    model = load_everywhere(
        comm, lambda: Model.load(run), lambda model: model.arrays.digest(), f"{run}: the model"
    )
    if comm.rank == 0:
        warn_if_diverged(model)
    return model


def load_ratings(
    comm: Comm, model: "Model", run: Path, prepared: Path | None, *, needed: bool = False
) -> tuple["RunRatings | None", str | None]:
    """Open the ratings of a model's run; if they can't be used, return why.

    Collective: all ranks call it.

    Args:
        comm: the ranks.
        model: of the run.
        run: the run directory, or that of a model.
        prepared: where the prepared ratings are now, if they were moved.
        needed: whether it is an error if they can't be used.
    """
    why_not = comm.from_rank_zero(lambda: _why_no_ratings(model, run, prepared, needed=needed))
    return None if why_not else model.rated(run, prepared), why_not


def choose_device(comm: Comm, name: str) -> str:
    """Return the device that this rank makes lists on. Collective: all ranks call it.

    Raises:
        ConfigError: a rank has none; on all ranks.
    """
    from cofi_dist.model.list_device import list_device

    fault, chosen = None, ""
    try:
        chosen = list_device(name, comm.local_rank)
    except ConfigError as error:
        fault = str(error)
    for why in comm.all_gather_objects(fault):
        if why is not None:
            raise ConfigError(f"--{why}", shared=True)
    return chosen


def load_everywhere(comm: Comm, load: Callable[[], T], fingerprint: Callable[[T], Any], what: str) -> T:
    """Load the same thing on every rank.

    Collective: all ranks call it.

    Raises:
        CofiError: what `load` raises on rank 0, on every rank.
        ConfigError: the ranks have loaded things of different fingerprints.
    """
    loaded: T | None = None

    def load_here() -> None:
        nonlocal loaded
        loaded = load()

    comm.from_rank_zero(load_here)  # it returns nothing, as only JSON could be sent to the other ranks
    if comm.rank != 0:
        load_here()
    assert loaded is not None
    if comm.world_size > 1:  # a model's takes time
        comm.require_same(fingerprint(loaded), what)
    return loaded


def _why_no_ratings(model: "Model", run: Path, prepared: Path | None, *, needed: bool) -> str | None:
    """Return why the run's ratings can't be used, or None if they can; raise it if they are needed."""
    try:
        model.rated(run, prepared)
    except CofiError as error:
        if needed:
            raise
        return str(error)
    return None
