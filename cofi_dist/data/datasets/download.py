"""Fetch a known data set: download, go on where it broke off, verify, unpack. Whole or not there.

Neither the network nor the archive is trusted. What came so far is kept in ROOT/.NAME.zip.part for the
next time, with the mark (ETag or date) of the file it is a part of, so that two versions are never
joined. One command at a time fetches a data set: the others wait, and find it there. An archive is unpacked
only if all of its members have been looked at and none is odd.
"""

import hashlib
import re
import shutil
import stat
import struct
import time
import zipfile
import zlib
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from cofi_dist.data.datasets.catalog import PAGE, DataSet
from cofi_dist.data.datasets.partial_download import PartialDownload
from cofi_dist.errors import DataError
from cofi_dist.files.atomic import atomic_directory
from cofi_dist.files.reading import UnusableFileError, open_regular
from cofi_dist.files.temporaries import clear_temporaries
from cofi_dist.files.written_file import checked_file, write_failure

ATTEMPTS = 5
PAUSE = 1.0  # seconds after the first attempt, twice as many after the second, and so on
TIMEOUT = 30.0  # seconds without a byte
BLOCK = 2**18

# zipfile and zlib have no common error for bytes that are no archive
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)


class Report(Protocol):
    """Who is told how it goes."""

    def note(self, text: str) -> None:
        """One line."""

    def received(self, done: int, total: int | None) -> None:
        """So many bytes are here, of so many, where the server says."""


class _BadArchiveError(DataError):
    """An archive that is no use, not even to go on from."""

    def __init__(self, dataset: DataSet, why: str) -> None:
        super().__init__(f"{dataset.url}: refused, and the download deleted: {why}")


def fetch(dataset: DataSet, root: Path, report: Report) -> Path:
    """Get a data set into `root`, unless it is there; returns its ratings file.

    Raises:
        DataError: it can't be fetched, verified or unpacked; nothing is left but, after a broken
            connection, the part that came.
        RunError: it can't be written.
    """
    partial = PartialDownload(root, dataset.name)
    try:
        if _is_there(dataset, root, report):
            partial.clear()
            clear_temporaries(root / dataset.folder)
        else:
            with partial.held(report.note):
                if not _is_there(dataset, root, report):  # another command may have got it meanwhile
                    _fetch(dataset, partial, root / dataset.folder, report)
    except UnusableFileError as error:
        raise DataError(f"{error.filename}: cannot be used: {error.strerror}; remove it") from None
    except OSError as error:
        where = error.filename or partial.file
        raise DataError(
            f"{where}: cannot be written: {write_failure(error)}; put that right and try again"
        ) from None
    return dataset.ratings_in(root)


def _is_there(dataset: DataSet, root: Path, report: Report) -> bool:
    target = root / dataset.folder
    if dataset.ratings_in(root).is_file():
        report.note(f"{dataset.name} is already in {target}.")
        return True
    if target.exists():
        raise DataError(f"{target}: is there, but without {dataset.ratings}; remove it, then try again")
    return False


def _fetch(dataset: DataSet, partial: PartialDownload, target: Path, report: Report) -> None:
    try:
        _download(dataset, partial, report)
        _verify(dataset, partial.file)
        report.note(f"{dataset.name} has come; unpacking it into {target}.")
        _unpack(dataset, partial.file, target)
    except _BadArchiveError:
        partial.discard()
        raise
    partial.discard()


def _download(dataset: DataSet, partial: PartialDownload, report: Report) -> None:
    """Complete the partial, in a few attempts."""
    report.note(f"Fetching {dataset.url}{f', from byte {partial.size():,} on' if partial.size() else ''}.")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _attempt(dataset, partial, report)
        except ConnectionError as error:
            broken = str(error)
        if attempt < ATTEMPTS:
            report.note(f"{dataset.url}: {broken}; trying again.")
            time.sleep(PAUSE * attempt)
    kept = f"the {partial.size():,} bytes so far are kept; " if partial.size() else ""
    raise DataError(f"{dataset.url}: {broken}; {kept}try again when the network is back")


def _attempt(dataset: DataSet, partial: PartialDownload, report: Report) -> None:
    """One request, for what is missing; raises ConnectionError if another one may get further."""
    have, mark = partial.size(), partial.mark()
    headers = {"User-Agent": "cofi-dist"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    try:
        answer = _open(dataset.url, headers)
    except HTTPError as error:
        error.close()
        if have and error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # all of it had come
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
            total = _total_of_rest(answer.headers, have, mark)
            if total is None:
                partial.discard()
                raise ConnectionError("the server sent another part than the one asked for")
        else:
            partial.begin(_mark(answer.headers))
            total = answer.length
        _receive(dataset, answer, partial, total, report)


def _open(url: str, headers: dict[str, str]) -> HTTPResponse:
    try:
        # the addresses are those of the known data sets
        answer: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)  # noqa: S310
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        raise ConnectionError(_reason(error)) from None
    return answer


def _receive(
    dataset: DataSet, answer: HTTPResponse, partial: PartialDownload, total: int | None, report: Report
) -> None:
    with checked_file(partial.file, append=True) as file:
        done = file.tell()
        while block := _read(answer):
            done += len(block)
            if max(done, total or 0) > dataset.unpacked_bytes:
                raise _BadArchiveError(dataset, f"it is larger than all of {dataset.name} unpacked")
            file.write(block)
            report.received(done, total)
    if total is not None and done != total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _read(answer: HTTPResponse) -> bytes:
    """The next block; a network's error becomes a ConnectionError, which a disk's never is."""
    try:
        return answer.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise ConnectionError(_reason(error)) from None


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)  # urllib wraps what happened
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _mark(headers: Message) -> str:
    """What tells this version of the file from others; a weak ETag doesn't."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _total_of_rest(headers: Message, have: int, mark: str) -> int | None:
    """The whole file's length if this answer is the rest of the same file; else None."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", ""))
    if not match or not have or int(match[1]) != have or _mark(headers) not in ("", mark):
        return None
    return int(match[2])


def _verify(dataset: DataSet, archive: Path) -> None:
    if dataset.md5 is None:
        return
    with open_regular(archive) as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != dataset.md5:
        raise _BadArchiveError(dataset, f"its md5 is {found}, not the published {dataset.md5}; try again")


def _unpack(dataset: DataSet, archive: Path, target: Path) -> None:
    """Write the members to `target`, if all are as they should be."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            fault = _fault(dataset, members)
            if fault:
                raise _BadArchiveError(dataset, fault)
            with atomic_directory(target) as temporary:
                for member in members:
                    inner = temporary / member.filename.removeprefix(f"{dataset.folder}/")
                    if member.is_dir():
                        inner.mkdir(parents=True, exist_ok=True)
                    elif not _extract(opened, member, inner):
                        raise _BadArchiveError(dataset, f"{member.filename!r} has another size than declared")
    except DAMAGED as error:
        raise _BadArchiveError(dataset, f"it is not a whole zip archive ({error})") from None


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path) -> bool:
    """Write one member; returns whether it had its declared size."""
    declared = member.file_size
    member.file_size += BLOCK  # zipfile would cut a longer one at what it declares, in silence
    file.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, checked_file(file) as target:
        shutil.copyfileobj(source, target, BLOCK)
        return target.tell() == declared


def _fault(dataset: DataSet, members: list[zipfile.ZipInfo]) -> str | None:
    """What is wrong with an archive, as far as its table of members shows."""
    for member in members:
        if fault := _member_fault(dataset.folder, member):
            return f"{member.orig_filename!r} {fault}"
    names = [member.filename.rstrip("/") for member in members]
    # a disk that ignores case would write the one over the other
    if len({name.casefold() for name in names}) < len(names):
        return "a name is in it twice"
    total = sum(member.file_size for member in members)
    if total > dataset.unpacked_bytes:
        return f"it expands to {total:,} bytes; {dataset.name} has {dataset.unpacked_bytes:,} at most"
    wanted = f"{dataset.folder}/{dataset.ratings}"
    return None if wanted in names else f"{wanted} is not in it"


def _member_fault(folder: str, member: zipfile.ZipInfo) -> str | None:
    if not _lies_in(folder, member.orig_filename):
        return f"does not lie in the folder {folder}"
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where no Unix packed it
    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        return "is a link or another special file"
    if member.header_offset < 0:
        return "lies outside the archive"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unusual way"
    return None


def _lies_in(folder: str, name: str) -> bool:
    """Whether a member's name is a plain path inside the folder, on every system."""
    first, *rest = name.removesuffix("/").split("/")
    plain = name.isprintable() and not set("\\:") & set(name)
    inside = first == folder and (rest or name.endswith("/"))
    return bool(plain and inside and not {"", ".", ".."} & set(rest))
