"""What has come of a download, which one command at a time adds to."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cofi_dist.files.reading import open_regular, read_bytes
from cofi_dist.files.written_file import write_file

MOST_MARK = 2**16  # bytes


class PartialDownload:
    """What has come of an archive, and the mark of the file that it is a part of."""

    def __init__(self, root: Path, name: str) -> None:
        self.file = root / f".{name}.zip.part"
        self._mark = root / f".{name}.zip.mark"

    @contextmanager
    def held(self, note: Callable[[str], None]) -> Iterator[None]:
        """Nobody else has it meanwhile; what is empty in the end goes."""
        made = [path for path in (self.file.parent, *self.file.parent.parents) if not path.exists()]
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = self._locked(note)
        try:
            yield
        finally:
            with suppress(OSError):
                if not os.fstat(descriptor).st_size:
                    self._mark.unlink(missing_ok=True)
                    self.file.unlink()
                for folder in made:
                    folder.rmdir()  # if it is empty
            os.close(descriptor)

    def _locked(self, note: Callable[[str], None]) -> int:
        """The file, open and locked, unless its file system knows of no locks."""
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
            with suppress(FileNotFoundError):  # whoever had it may have removed it
                if os.path.samestat(os.fstat(descriptor), self.file.stat()):
                    return descriptor
            os.close(descriptor)

    def clear(self) -> None:
        """Remove what a command that was killed left of what is there now, unless another one has it."""
        with suppress(OSError):
            descriptor = os.open(self.file, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._mark.unlink(missing_ok=True)
                self.file.unlink()
            finally:
                os.close(descriptor)

    def mark(self) -> str:
        """Empty where there is none, or none that can be sent."""
        if not os.path.lexists(self._mark):
            return ""
        mark = read_bytes(self._mark, MOST_MARK).decode("utf-8", "replace")
        return mark if mark.isascii() and mark.isprintable() else ""

    def size(self) -> int:
        """Bytes that can be gone on from; without a mark, none."""
        return self.file.stat().st_size if self.mark() else 0

    def begin(self, mark: str) -> None:
        self.discard()  # first, so that old bytes never get the new mark
        write_file(self._mark, mark)

    def discard(self) -> None:
        self._mark.unlink(missing_ok=True)
        os.truncate(self.file, 0)  # the file stays, as the lock is on it
