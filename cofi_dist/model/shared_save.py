"""Save a model whose rows no rank has all of: every rank writes its own, and the model appears whole."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import RunError
from cofi_dist.files.atomic import atomic_directory
from cofi_dist.files.written_file import write_failure
from cofi_dist.model.arrays import NotFiniteError
from cofi_dist.model.parts import OwnRows, Part, write_manifest, write_parts
from cofi_dist.model.store import About, write_rest


def save_shared(
    directory: Path,
    own: Sequence[OwnRows],
    about: About,
    comm: Comm,
    *,
    replace: bool = False,
    before: Callable[[], None] = lambda: None,
) -> None:
    """Write a model in parts into a directory that appears whole or not at all.

    Collective: all ranks call it. If one of them fails, nothing of it stays, nor does an old model go.

    Args:
        directory: the model's own, which all ranks see.
        own: rows that this rank has and no other: of users, of items, of both, or none.
        about: the same on all ranks.
        comm: the ranks.
        replace: an existing directory is replaced.
        before: rank 0 calls it before anything is written.

    Raises:
        RunError: the directory exists or can't be written, or a number of the model is not finite; the same
            on all ranks.
    """
    with ExitStack() as made:  # of rank 0, which alone enters anything

        def begin() -> str:
            before()
            return str(made.enter_context(atomic_directory(directory, replace=replace)))

        temporary = Path(comm.from_rank_zero(begin))
        parts, fault = _write_own(directory, temporary, own, comm.rank)
        if faults := [each for each in comm.all_gather_objects(fault) if each]:
            raise RunError(faults[0], shared=True)
        of_ranks = comm.all_gather_objects([part.model_dump() for part in parts])

        def finish() -> None:
            found = [Part.model_validate(part) for parts in of_ranks for part in parts]
            try:
                write_manifest(temporary, about.metadata, found)
                write_rest(temporary, about)
            except OSError as error:
                raise RunError(f"{directory}: cannot be written: {write_failure(error)}") from None
            made.close()

        comm.from_rank_zero(finish)


def _write_own(directory: Path, temporary: Path, own: Sequence[OwnRows], rank: int) -> tuple[list[Part], str]:
    """Write the files of this rank; return them, and why that failed, if it did."""
    try:
        return write_parts(temporary, own, first=rank), ""
    except OSError as error:
        return [], f"{directory}: cannot be written: {write_failure(error)}"
    except NotFiniteError as error:
        return [], f"{directory}: {error}; nothing was written"
