"""Fetch a data set: download it, resuming where a connection broke, verify it and unpack it.

Neither the network nor the archive is trusted. Bytes that were received are kept in ROOT/.NAME.zip.part for
the next attempt, together with the validator (ETag or date) of the file that they belong to, so that two
versions are never joined. One command at a time fetches a data set; others wait for it, and then find it.
"""

import re
import time
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from cofi_dist.data.datasets.archive import BadArchiveError, unpack, verify
from cofi_dist.data.datasets.catalog import PAGE, DataSet
from cofi_dist.data.datasets.partial_download import PartialDownload
from cofi_dist.errors import DataError
from cofi_dist.files.reading import UnusableFileError
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.files.written_file import checked_file, write_failure

ATTEMPTS = 5
PAUSE = 1.0  # seconds after the first attempt; twice as many after the second, and so on
TIMEOUT = 30.0  # seconds without a byte
BLOCK_BYTES = 2**18


class Progress(Protocol):
    """Show how a download goes."""

    def note(self, text: str) -> None:
        """Show a line."""

    def received(self, done: int, total: int | None) -> None:
        """Show that `done` bytes of `total` have been received; None if the server does not say how many."""


def fetch(dataset: DataSet, root: Path, progress: Progress) -> Path:
    """Get a data set into `root`, unless it is there, and return its ratings file.

    Raises:
        DataError: it cannot be fetched, verified or unpacked. Nothing is left of it, except for the bytes
            that were received before a connection broke.
        RunError: it cannot be written.
    """
    partial = PartialDownload(root, dataset.name)
    try:
        if _is_there(dataset, root, progress):
            partial.clear()
            clear_temporaries(root / dataset.folder)
        else:
            with partial.locked(progress.note):
                if not _is_there(dataset, root, progress):  # another command may have fetched it meanwhile
                    _fetch(dataset, partial, root / dataset.folder, progress)
    except UnusableFileError as error:
        raise DataError(f"{error.filename}: cannot be used: {error.strerror}; remove it") from None
    except OSError as error:
        where = error.filename or partial.file
        raise DataError(
            f"{where}: cannot be written: {write_failure(error)}; put that right and try again"
        ) from None
    return dataset.ratings_in(root)


def _is_there(dataset: DataSet, root: Path, progress: Progress) -> bool:
    target = root / dataset.folder
    if dataset.ratings_in(root).is_file():
        progress.note(f"{dataset.name} is already in {target}.")
        return True
    if target.exists():
        raise DataError(f"{target}: is there, but without {dataset.ratings}; remove it, then try again")
    return False


def _fetch(dataset: DataSet, partial: PartialDownload, target: Path, progress: Progress) -> None:
    try:
        _download(dataset, partial, progress)
        verify(dataset, partial.file)
        progress.note(f"{dataset.name} has come; unpacking it into {target}.")
        unpack(dataset, partial.file, target)
    except BadArchiveError:
        partial.discard()
        raise
    partial.discard()


def _download(dataset: DataSet, partial: PartialDownload, progress: Progress) -> None:
    """Complete the archive, in up to ATTEMPTS attempts."""
    progress.note(f"Fetching {dataset.url}{f', from byte {partial.size():,} on' if partial.size() else ''}.")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _attempt(dataset, partial, progress)
        except ConnectionError as error:
            broken = str(error)
        if attempt < ATTEMPTS:
            progress.note(f"{dataset.url}: {broken}; trying again.")
            time.sleep(PAUSE * attempt)
    kept = f"the {partial.size():,} bytes so far are kept; " if partial.size() else ""
    raise DataError(f"{dataset.url}: {broken}; {kept}try again when the network is back")


def _attempt(dataset: DataSet, partial: PartialDownload, progress: Progress) -> None:
    """Request what is missing; raise ConnectionError if another attempt may get further."""
    have, validator = partial.size(), partial.validator()
    headers = {"User-Agent": "cofi-dist"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        answer = _open(dataset.url, headers)
    except HTTPError as error:
        error.close()
        if have and error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # all of it had been received
        if have and error.code == 416:
            partial.discard()
            raise ConnectionError("has become shorter") from None
        if error.code >= 500:
            raise ConnectionError(f"the server answers {error.code} {error.reason}") from None
        raise DataError(
            f"{dataset.url}: the server answers {error.code} {error.reason}; see {PAGE} for where it is now"
        ) from None
    with answer:
        if answer.status == 206:
            total = _total_if_resumed(answer.headers, have, validator)
            if total is None:
                partial.discard()
                raise ConnectionError("the server sent another part than the one asked for")
        else:
            partial.start(_validator(answer.headers))
            total = answer.length
        _receive(dataset, answer, partial, total, progress)


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    try:
        # the URLs are those of the catalog
        answer: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)  # noqa: S310
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        raise ConnectionError(_network_failure(error)) from None
    return answer


def _receive(
    dataset: DataSet, answer: HTTPResponse, partial: PartialDownload, total: int | None, progress: Progress
) -> None:
    with checked_file(partial.file, append=True) as file:
        done = file.tell()
        while block := _read(answer):
            done += len(block)
            if max(done, total or 0) > dataset.unpacked_bytes:
                raise BadArchiveError(dataset, f"it is larger than all of {dataset.name} unpacked")
            file.write(block)
            progress.received(done, total)
    if total is not None and done != total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _read(answer: HTTPResponse) -> bytes:
    """Read the next block; raise ConnectionError if the network fails, to tell it from a failing disk."""
    try:
        return answer.read(BLOCK_BYTES)
    except (OSError, HTTPException) as error:
        raise ConnectionError(_network_failure(error)) from None


def _network_failure(error: Exception) -> str:
    cause = getattr(error, "reason", error)  # urllib wraps the original error
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _validator(headers: Message) -> str:
    """Return the header that identifies this version of the file; empty if there is none but a weak ETag."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _total_if_resumed(headers: Message, have: int, validator: str) -> int | None:
    """Return the length of the whole file if this answer is the rest of the same file; else None."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
    if not match or not have or int(match[1]) != have or _validator(headers) not in ("", validator):
        return None
    return int(match[2])
