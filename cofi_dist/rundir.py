"""The run directory: what lies in it, and how one is begun.

config.yaml is written when training starts, so a directory that has it holds a run.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from cofi_dist.errors import RunError
from cofi_dist.files import whole_file

CONFIG, METRICS, LOG, MODEL, DATA, TENSORBOARD = (
    "config.yaml",
    "metrics.jsonl",
    "train.log",
    "model",
    "data",
    "tensorboard",
)


def refuse_run(directory: Path, *, replace: bool) -> None:
    """Raise unless a run may begin in `directory`; touches nothing.

    Raises:
        RunError: it holds a run and `replace` is false, or it isn't a directory.
    """
    if (directory / CONFIG).exists() and not replace:
        raise RunError(
            f"{directory}: already holds a run; give another run_dir, or --replace to lose that run"
        )
    if directory.exists() and not directory.is_dir():
        raise RunError(f"{directory}: is a file; give another run_dir")


def clear_run(directory: Path) -> None:
    """Make the directory, without what a run (or a start that failed) left in it.

    Files that no run writes stay.

    Raises:
        RunError: the directory can't be made or cleared.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG, METRICS, LOG):
            (directory / name).unlink(missing_ok=True)
        for name in (MODEL, DATA, TENSORBOARD):
            if (directory / name).exists():
                shutil.rmtree(directory / name)
    except OSError as error:
        raise RunError(f"{directory}: cannot be used as run_dir: {error.strerror or error}") from None


def discard_run(directory: Path) -> None:
    """Take back what a start that failed has made.

    Raises:
        RunError: the directory can't be cleared.
    """
    clear_run(directory)
    with suppress(OSError):  # somebody else's files are in it
        directory.rmdir()


def save_config(directory: Path, text: str) -> None:
    """From here on the directory holds a run."""
    with whole_file(directory / CONFIG) as temporary:
        temporary.write_text(text, encoding="utf-8")
