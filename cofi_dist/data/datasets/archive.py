"""Verify and unpack the archive of a data set, which is not trusted: every member is checked first."""

import hashlib
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from cofi_dist.data.datasets.catalog import DataSet
from cofi_dist.errors import DataError
from cofi_dist.files.atomic import atomic_directory
from cofi_dist.files.reading import open_regular
from cofi_dist.files.written_file import checked_file

COPY_BYTES = 2**18

# zipfile and zlib have no common error for bytes that are not an archive
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)


class BadArchiveError(DataError):
    """Say that an archive is useless, even as the beginning of a download to be resumed."""

    def __init__(self, dataset: DataSet, why: str) -> None:
        super().__init__(f"{dataset.url}: refused, and the download deleted: {why}")


def verify(dataset: DataSet, archive: Path) -> None:
    """Raise BadArchiveError if an archive does not have the published checksum."""
    if dataset.md5 is None:
        return
    with open_regular(archive) as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != dataset.md5:
        raise BadArchiveError(dataset, f"its md5 is {found}, not the published {dataset.md5}; try again")


def unpack(dataset: DataSet, archive: Path, target: Path) -> None:
    """Unpack an archive into the folder `target`, which appears whole or not at all.

    Raises:
        BadArchiveError: one of the members is not as it should be.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            fault = _fault(dataset, members)
            if fault:
                raise BadArchiveError(dataset, fault)
            with atomic_directory(target) as temporary:
                for member in members:
                    inner = temporary / member.filename.removeprefix(f"{dataset.folder}/")
                    if member.is_dir():
                        inner.mkdir(parents=True, exist_ok=True)
                    elif not _extract(opened, member, inner):
                        raise BadArchiveError(dataset, f"{member.filename!r} has another size than declared")
    except DAMAGED as error:
        raise BadArchiveError(dataset, f"it is not a whole zip archive ({error})") from None


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path) -> bool:
    """Write one member and return whether it had its declared size."""
    declared = member.file_size
    member.file_size += COPY_BYTES  # zipfile would silently cut off what exceeds the declared size
    file.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, checked_file(file) as target:
        shutil.copyfileobj(source, target, COPY_BYTES)
        return target.tell() == declared


def _fault(dataset: DataSet, members: list[zipfile.ZipInfo]) -> str | None:
    """Say what is wrong with an archive, as far as its table of members shows; None if nothing is."""
    for member in members:
        if fault := _member_fault(dataset.folder, member):
            return f"{member.orig_filename!r} {fault}"
    names = [member.filename.rstrip("/") for member in members]
    # on a disk that ignores case, one would overwrite the other
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
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 unless it was packed on Unix
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
    """Return whether a member's name is a plain path inside the folder, on every system."""
    first, *rest = name.removesuffix("/").split("/")
    plain = name.isprintable() and not set("\\:") & set(name)
    inside = first == folder and (rest or name.endswith("/"))
    return bool(plain and inside and not {"", ".", ".."} & set(rest))
