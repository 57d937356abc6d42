"""Write the lists of many users: into a file, or, of the ranks that share the users, into a directory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from cofi_dist.cli.list_limits import LimitFiles, ListLimits, read_users
from cofi_dist.cli.list_notes import ListNotes, has_rated
from cofi_dist.cli.list_parts import is_directory_of_parts, require_writable_lists, write_parts
from cofi_dist.cli.loaded_run import load_everywhere, load_model, load_ratings
from cofi_dist.cli.output_tables import id_column_names, write_table
from cofi_dist.cli.progress import Progress, announce_compilation
from cofi_dist.cli.tables import say_if_scores
from cofi_dist.distributed.comm import Comm
from cofi_dist.streams import log_stderr
from cofi_dist.words import counted

if TYPE_CHECKING:
    import polars as pl

    from cofi_dist.model import Model, RunRatings


@dataclass(frozen=True)
class WrittenLists:
    """Hold how long lists are, what they may show, what makes them, and where they are written."""

    k: int
    limits: LimitFiles
    device: str
    output: Path
    replace: bool


def write_many(
    comm: Comm, run: Path, prepared: Path | None, users: Path | None, wanted: WrittenLists
) -> None:
    """Write the lists of the users of a file, or of all users of a model, and say what is odd about them.

    Each rank makes the lists of a run of the users. Collective: all ranks call it.
    """
    output = wanted.output
    comm.from_rank_zero(lambda: require_writable_lists(output, comm.world_size, replace=wanted.replace))
    model = load_model(comm, run)
    rated = load_rated(comm, model, run, prepared)
    aloud = comm.rank == 0

    def read_files() -> tuple[ListLimits, "pl.Series"]:
        ids = model.users.raw if users is None else read_users(model, users, aloud=aloud)
        return wanted.limits.read(model, aloud=aloud), ids

    read, ids = load_everywhere(comm, read_files, _sizes, "what lists may show")
    notes = ListNotes(model, wanted.k, read, leaves_out_rated=rated is not None)
    announce_compilation(comm)
    lists = _Lists(comm, model, rated, wanted, read, ids, notes)
    if is_directory_of_parts(output):
        write_parts(comm, output, lists.write, replace=wanted.replace)
    else:
        lists.write(output)
    notes.sum_over_ranks(comm)
    if aloud:
        what = "the best item" if wanted.k == 1 else f"the {wanted.k:,} best items"
        parts = f", in {counted(comm.world_size, 'part')}" if is_directory_of_parts(output) else ""
        log_stderr(f"{what} of {counted(len(ids), 'user')} written to {output}{parts}")
        say_if_scores(model)
        for note in notes.for_users(model.users.find(ids)):
            log_stderr(note)


def load_rated(comm: Comm, model: "Model", run: Path, prepared: Path | None) -> "RunRatings | None":
    """Return the run's ratings, or say that items may be recommended that a user has rated.

    Collective: all ranks call it.
    """
    rated, why_not = load_ratings(comm, model, run, prepared)
    if comm.rank == 0 and why_not:
        log_stderr(f"items that a user {has_rated(model)} are not left out: {why_not}")
    elif comm.rank == 0 and rated and rated.note:
        log_stderr(rated.note)
    return rated


def _sizes(read: tuple[ListLimits, "pl.Series"]) -> list[int]:
    """Return how much each file holds; of a missing one, -1."""
    limits, users = read
    return [-1 if ids is None else len(ids) for ids in (limits.candidates, limits.exclude, users)]


@dataclass(frozen=True)
class _Lists:
    """Make the lists of this rank's share of the users, and count them in `notes`."""

    comm: Comm
    model: "Model"
    rated: "RunRatings | None"
    wanted: WrittenLists
    limits: ListLimits
    users: "pl.Series"
    notes: ListNotes

    def write(self, output: Path) -> None:
        """Write the lists into a file, whole or not at all."""
        from polars.io.plugins import register_io_source

        with Progress("recommending", "users", hidden=self.comm.rank != 0) as progress:
            tables = self._tables(progress)
            first = next(tables)
            source = register_io_source(lambda *_: chain([first], tables), schema=first.schema)
            write_table(source, output)

    def _tables(self, progress: Progress) -> Iterator["pl.DataFrame"]:
        comm, model, count = self.comm, self.model, len(self.users)
        start, stop = (count * rank // comm.world_size for rank in (comm.rank, comm.rank + 1))
        results = ("rank", *([] if model.facts.is_implicit else ["prediction"]), "score")
        user, item = id_column_names(model.facts.columns, results, aloud=comm.rank == 0)
        tables = model.recommend_all(
            self.wanted.k,
            self.rated,
            users=self.users[start:stop],
            device=self.wanted.device,
            **self.limits.arguments,
        )
        for table in tables:
            self.notes.add(table)
            progress.add(table["user"].n_unique() * comm.world_size, count)
            in_order = table.select("user", "rank", "item", *results[1:])
            yield in_order.rename({"user": user, "item": item})
