"""Define the command `prepare`, which reads ratings files once, for many runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Files, Overrides
from cofi_dist.cli.progress import Steps
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.streams import log_stderr


def prepare(
    ratings: Annotated[
        Files,
        typer.Argument(
            metavar="RATINGS...",
            help="Ratings files, a folder of them, a 'pattern' or a URL.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="Directory to make.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Read ratings files once, for any number of runs to train on."""
    from cofi_dist.config import SOURCES, resolve
    from cofi_dist.config.strict_yaml import to_yaml
    from cofi_dist.data.preparation.store import StoredRatings
    from cofi_dist.data.readers.ratings_files import RatingsFiles
    from cofi_dist.data.sources.open import prepare_source, ratings_files

    more = [text for text in overrides or [] if _is_path(text)]
    overrides = [text for text in overrides or [] if not _is_path(text)]
    named: str | list[str] = [str(ratings), *more] if more else str(ratings)
    given = {"data": {"ratings": named}, "run_dir": str(output)}
    for text in overrides:
        if not text.startswith("data."):
            raise ConfigError(f"{text!r}: prepare takes keys of data only, such as data.duplicates=last")
        if text.partition("=")[0].removeprefix("data.").partition(".")[0] in SOURCES:
            raise ConfigError(f"{text!r}: prepare reads {ratings}; leave one of them out")
    data = resolve(given, "prepare", overrides).data
    files = RatingsFiles.of(ratings_files(data))
    said = files.notes(data.columns, "explicit")  # at once: to read on may take minutes
    for note in said:
        log_stderr(f"{files.name}: {note}")
    clear_temporaries(output)  # of one that was killed
    if output.exists():
        raise RunError(f"{output}: already exists; remove it or name another")
    with Steps("ratings") as steps, prepare_source(data, output, files, steps) as prepared:
        prepared.keep(output)
    for note in StoredRatings(output).notes:
        if note not in said:
            print(note)
    keys = {"prepared": str(output)}
    if data.feedback != "explicit":
        keys["feedback"] = data.feedback
    print(f"prepared in {output}; to train on it, set data: {to_yaml(keys, one_line=True)}")


def _is_path(text: str) -> bool:
    """Tell whether an argument names one more file, as where a shell has unfolded a pattern."""
    return os.path.lexists(text) or ("=" not in text and not text.startswith("data."))
