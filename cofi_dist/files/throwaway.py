"""Make a directory for files that nobody keeps, in the place of the system's temporary files."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cofi_dist.errors import ConfigError


@contextmanager
def throwaway_directory() -> Iterator[Path]:
    """Yield a temporary directory, which is removed at the end of the context.

    Raises:
        ConfigError: it cannot be made.
    """
    try:
        directory = tempfile.TemporaryDirectory(prefix="cofi_dist-")
    except OSError as error:
        raise ConfigError(
            f"TMPDIR: no temporary directory can be made ({error}); set it to a folder that can be written"
        ) from None
    with directory as path:
        yield Path(path)
