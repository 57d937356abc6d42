"""Define the command `prepare`, which reads a ratings file once, for many runs."""

from pathlib import Path
from typing import Annotated

import typer

from cofi_dist.cli.arguments import Overrides
from cofi_dist.errors import ConfigError, RunError
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.streams import log_stderr


def prepare(
    ratings: Annotated[Path, typer.Argument(help="Ratings file.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Directory to make.", show_default=False)],
    overrides: Overrides = None,
) -> None:
    """Read a ratings file once, for any number of runs to train on."""
    from cofi_dist.config import SOURCES, resolve
    from cofi_dist.config.strict_yaml import to_yaml
    from cofi_dist.data.preparation.store import StoredRatings
    from cofi_dist.data.readers.tables import notes_on_layout
    from cofi_dist.data.sources.open import prepare_source

    given = {"data": {"ratings": str(ratings)}, "run_dir": str(output)}
    for text in overrides or []:
        if not text.startswith("data."):
            raise ConfigError(f"{text!r}: prepare takes keys of data only, such as data.duplicates=last")
        if text.partition("=")[0].removeprefix("data.").partition(".")[0] in SOURCES:
            raise ConfigError(f"{text!r}: prepare reads {ratings}; leave one of them out")
    resolved = resolve(given, "prepare", overrides or [])
    data = resolved.data
    said = notes_on_layout(ratings, data.columns)  # at once: to read on may take minutes
    for note in said:
        log_stderr(f"{ratings}: {note}")
    clear_temporaries(output)  # of one that was killed
    if output.exists():
        raise RunError(f"{output}: already exists; remove it or name another")
    with prepare_source(data, output) as prepared:
        prepared.keep(output)
    for note in StoredRatings(output).notes:
        if note not in said:
            print(note)
    keys = {"prepared": str(output)}
    if data.feedback != "explicit":
        keys["feedback"] = data.feedback
    print(f"prepared in {output}; to train on it, set data: {to_yaml(keys, one_line=True)}")
