"""Keep the received part of a download, which one command at a time extends."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cofi_dist.files.reading import open_regular, read_bytes
from cofi_dist.files.written_file import write_file

MOST_VALIDATOR = 2**16  # bytes


class PartialDownload:
    """Keep the received bytes of an archive, and the validator of the file that they belong to.

    A validator is what HTTP calls the ETag or the date that identifies a version of a file.

    Args:
        root: folder of the data sets.
        name: name of the data set.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.file = root / f".{name}.zip.part"
        self._validator = root / f".{name}.zip.mark"

    @contextmanager
    def locked(self, note: Callable[[str], None]) -> Iterator[None]:
        """Exclude other commands; in the end, remove what is empty.

        Args:
            note: is called with a line if another command must be waited for.
        """
        new_folders = [path for path in (self.file.parent, *self.file.parent.parents) if not path.exists()]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = self._open_locked(note)
        try:
            yield
        finally:
            with suppress(OSError):
                if not os.fstat(descriptor).st_size:
                    self._validator.unlink(missing_ok=True)
                    self.file.unlink()
                for folder in new_folders:
                    folder.rmdir()  # fails unless it is empty
            os.close(descriptor)

    def _open_locked(self, note: Callable[[str], None]) -> int:
        """Open the file and lock it, unless its file system has no locks; return its descriptor."""
        while True:
            with suppress(FileNotFoundError):
                open_regular(self.file).close()
            descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note(f"another command is fetching {self.file.name}; waiting for it.")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:
                return descriptor
            with suppress(FileNotFoundError):  # the command that had the lock may have removed it
                if os.path.samestat(os.fstat(descriptor), self.file.stat()):
                    return descriptor
            os.close(descriptor)

    def clear(self) -> None:
        """Remove the remains of a command that was killed, unless another command is using them."""
        with suppress(OSError):
            descriptor = os.open(self.file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._validator.unlink(missing_ok=True)
                self.file.unlink()
            finally:
                os.close(descriptor)

    def validator(self) -> str:
        """Return the validator; empty if there is none, or none that can be sent."""
        if not os.path.lexists(self._validator):
            return ""
        text = read_bytes(self._validator, MOST_VALIDATOR).decode("utf-8", "replace")
        return text if text.isascii() and text.isprintable() else ""

    def size(self) -> int:
        """Return the number of bytes that a download can resume from; 0 without a validator."""
        return self.file.stat().st_size if self.validator() else 0

    def start(self, validator: str) -> None:
        """Start anew, with the validator of the file that is received from now on."""
        self.discard()  # first, so that old bytes never get the new validator
        write_file(self._validator, validator)

    def discard(self) -> None:
        """Forget what was received."""
        self._validator.unlink(missing_ok=True)
        os.truncate(self.file, 0)  # the file stays, as the lock is on it
