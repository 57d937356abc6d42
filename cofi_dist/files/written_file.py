"""Writing of which every failure is told: of a write, a flush, a sync, and of bytes that are missing."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

# what file systems answer that have no sync for directories
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS, errno.EBADF}


class WrittenFile(io.BufferedIOBase, BinaryIO):
    """A file that is being written, to be given to numpy, torch and polars.

    Given a path, or a file of Python's own, they write past Python, and some drop the error of their last
    write. The first error is kept here, and `finish` raises it, whatever a library made of it.

    Args:
        file: opened for writing; it is at its end, or is to be written over from its start.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, file.tell()
        self._end = self._at
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        """Add bytes; all of them, or OSError is raised."""
        if self.error is not None:
            raise self.error
        try:
            count = self._file.write(content)
        except OSError as error:
            self.error = error
            raise
        self._at += count
        self._end = max(self._end, self._at)
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def chmod(self, mode: int) -> None:
        """Set who may read and write it."""
        os.fchmod(self._file.fileno(), mode)

    def finish(self, *, to_disk: bool = True) -> None:
        """Close the file if all of its bytes are there, on the disk itself unless that is not asked for.

        Raises:
            OSError: they are not.
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
        """Give it up, unless it is finished."""
        with suppress(OSError):
            self._file.close()
        super().close()


@contextmanager
def checked_file(path: Path, *, append: bool = False, to_disk: bool = True) -> Iterator[WrittenFile]:
    """Yields a file to write; when this ends all of its bytes are there.

    Args:
        path: written over, if it is there.
        append: add to what is there instead.
        to_disk: wait until the disk has it, as a file that stays should.

    Raises:
        OSError: they are not all there.
    """
    opened = WrittenFile(path.open("ab" if append else "wb"))
    with finish_on_exit(opened, to_disk=to_disk):
        yield opened


@contextmanager
def finish_on_exit(opened: WrittenFile, *, to_disk: bool = True) -> Iterator[None]:
    """Finish a file at the end; raise its own error where a library has made another one of it."""
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
    """Write a file in a directory that is not in its place yet.

    Raises:
        OSError: not all of it could be written.
    """
    with checked_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def flush_to_disk(path: Path) -> None:
    """Flush a file's bytes, or a directory's entries, to the disk.

    Not every file system can do so for a directory, and not everybody may open one that they may write in:
    such a directory is passed over. A file never is.
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
    """Why something can't be written, without the number and the path that an OSError's own text has."""
    if error.errno == errno.EFBIG:
        return "a file would grow beyond what the system allows here (see `ulimit -f`)"
    return error.strerror or str(error)
