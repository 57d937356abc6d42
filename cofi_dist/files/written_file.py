"""Write files so that no failure goes unnoticed: of a write, a flush or a sync, or missing bytes."""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

# The errors of file systems that cannot sync directories.
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS, errno.EBADF}


class WrittenFile(io.BufferedIOBase, BinaryIO):
    """Offer a file that numpy, torch and polars can write to without losing errors.

    If they are given a path or an ordinary file, they bypass Python's writes, and some drop the error of
    their last write. Here the first error is kept, and `finish` raises it, whatever the library made of it.

    Args:
        file: opened for writing, at its end or at its start.

    Attributes:
        on_write: called with the number of bytes of each write.
    """

    on_write: Callable[[int], object] | None = None

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, file.tell()
        self._end = self._at
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        """Write all bytes, or raise OSError."""
        if self.error is not None:
            raise self.error
        try:
            count = self._file.write(content)
        except OSError as error:
            self.error = error
            raise
        self._at += count
        self._end = max(self._end, self._at)
        if self.on_write is not None:
            self.on_write(count)
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def chmod(self, mode: int) -> None:
        """Set the permissions of the file."""
        os.fchmod(self._file.fileno(), mode)

    def finish(self, *, to_disk: bool = True) -> None:
        """Check that all bytes were written, and close the file.

        Args:
            to_disk: whether to wait until the disk has them.

        Raises:
            OSError: bytes are missing.
        """
        try:
            if self.error is not None:
                raise self.error
            self._file.flush()
            size = os.fstat(self._file.fileno()).st_size
            if size != self._end:
                raise OSError(errno.EIO, f"{self._end:,} bytes were written, and {size:,} are there")
            if to_disk:
                os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            self.error = error
            raise

    def close(self) -> None:
        """Close the file without any check; nothing happens if it is finished."""
        with suppress(OSError):
            self._file.close()
        super().close()


@contextmanager
def checked_file(path: Path, *, append: bool = False, to_disk: bool = True) -> Iterator[WrittenFile]:
    """Yield a file to write, and check at the end that all bytes were written.

    Args:
        path: the file, which is overwritten if it exists.
        append: whether to append to the file instead.
        to_disk: whether to wait until the disk has it, as for each file that is to last.

    Raises:
        OSError: bytes are missing.
    """
    opened = WrittenFile(path.open("ab" if append else "wb"))
    with finish_on_exit(opened, to_disk=to_disk):
        yield opened


@contextmanager
def finish_on_exit(opened: WrittenFile, *, to_disk: bool = True) -> Iterator[None]:
    """Finish a file at the end; raise its own first error, even if a library turned it into another one."""
    try:
        yield
        opened.finish(to_disk=to_disk)
    except Exception as error:
        if opened.error is not None and error is not opened.error:
            raise opened.error from error
        raise
    finally:
        opened.close()


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file under its own name; for a directory that is not in its final place yet.

    Raises:
        OSError: the file could not be written completely.
    """
    with checked_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def flush_to_disk(path: Path) -> None:
    """Flush a file's bytes, or a directory's entries, to the disk.

    Some file systems cannot flush directories, and some directories are writable but cannot be opened. Such a
    directory is skipped; a file never is.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC or not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise
    finally:
        os.close(descriptor)


def write_failure(error: OSError) -> str:
    """Return why something cannot be written, without the errno and the path in the text of an OSError."""
    if error.errno == errno.EFBIG:
        return "a file would grow beyond what the system allows here (see `ulimit -f`)"
    return error.strerror or str(error)
