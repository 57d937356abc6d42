"""Write lists as a file, or as a directory that holds a Parquet part of each rank."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cofi_dist.cli.output_tables import FORMATS, require_writable
from cofi_dist.distributed.comm import Comm
from cofi_dist.errors import CofiError, ConfigError, RunError
from cofi_dist.files.atomic import atomic_directory, refuse_existing

PART = re.compile(r"part-[0-9]{5}-of-[0-9]{5}\.parquet")


def is_directory_of_parts(output: Path) -> bool:
    """Tell whether an output is a directory: its name has no ending."""
    return not output.suffix


def require_writable_lists(output: Path, num_ranks: int, *, replace: bool) -> None:
    """Raise unless so many ranks can write lists there.

    Raises:
        ConfigError: the name does not say what to write.
        RunError: something is in the way.
    """
    if not is_directory_of_parts(output):
        if num_ranks > 1 and output.suffix.lower() in FORMATS:
            raise ConfigError(
                f"--output {output}: {num_ranks} ranks write a part each; name a directory, such as"
                f" {output.with_suffix('')}"
            )
        require_writable(output, replace=replace, or_directory=True)
        return
    refuse_existing(output, replace=replace)
    if output.is_file():
        raise RunError(f"{output}: is a file; lists in parts make a directory: remove it, or name another")
    others = (
        [path.name for path in output.iterdir() if not PART.fullmatch(path.name)] if output.exists() else []
    )
    if others:
        raise RunError(
            f"{output}: would be removed as a whole, but holds what is no part of lists, such as"
            f" {min(others)}; name another directory"
        )


def write_parts(comm: Comm, output: Path, write: Callable[[Path], object], *, replace: bool) -> None:
    """Write a directory of one part for each rank, which appears with all of them or not at all.

    Collective: all ranks call it.

    Args:
        comm: the ranks.
        output: the directory.
        write: writes the part of this rank into a file.
        replace: whether an existing directory is replaced.

    Raises:
        CofiError: a rank could not write its part; on all ranks.
    """
    with ExitStack() as made:

        def make() -> str:
            return str(made.enter_context(atomic_directory(output.absolute(), replace=replace)))

        directory = Path(comm.from_rank_zero(make))
        fault: str | None = None
        try:
            if not directory.is_dir():
                raise RunError(
                    f"{output}: is made by rank 0 on a disk that this node does not see; name another"
                )
            write(directory / f"part-{comm.rank:05}-of-{comm.world_size:05}.parquet")
        except CofiError as error:
            fault = str(error).replace(str(directory), str(output))  # which is all that the user has named
        for rank, why in enumerate(comm.all_gather_objects(fault)):
            if why is not None:
                who = f"rank {rank}: " if comm.world_size > 1 else ""
                raise RunError(f"{who}{why}", shared=True)
        comm.from_rank_zero(made.close)
