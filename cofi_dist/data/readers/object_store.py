"""Find and open Parquet files in an object store, as polars reaches it."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from cofi_dist.errors import DataError
from cofi_dist.files.reading import shortened
from cofi_dist.streams import silenced

STORE_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ImportError, ValueError)
PATHS = "path of the file"
PATTERN = re.compile(r"[*?\[]")
# How long polars waits for a connection and for an answer, and how often it tries again. Lists and footers
# are short; a piece of a column has up to 64 MB.
CONNECT, ANSWER, PIECE, TRIES_AGAIN = "5s", "10s", "300s", 1
# What polars' messages say, and what that means.
NO_BUCKET = "NoSuchBucket|ContainerNotFound|bucket does not exist"
NOTHING = "expanded paths were empty|not found|404 Not Found"
FAULTS = (
    (NO_BUCKET, "there is no such bucket; is its name right?"),
    (
        r"169\.254\.16[0-9]|169\.254\.170|latest/api/token|NoCredentials|did not receive any credentials",
        "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of the store",
    ),
    (
        "401 Unauthorized|403 Forbidden|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|privileges",
        "the store refuses access; are the credentials right, and may they read this?",
    ),
    (NOTHING, "there is no such file or folder in the store"),
    (
        "error sending request|timed out|Connection refused|dns error|retry_timeout",
        "the store does not answer; is the network there, and is AWS_ENDPOINT_URL right?",
    ),
    ("_delta_log", "is a Delta table, whose log says which of its files count; write its rows into a file"),
    (
        "different file extensions",
        "the folder holds files of several kinds; give a pattern, such as FOLDER/**/*.parquet",
    ),
)


@dataclass(frozen=True)
class ObjectUrl:
    """Hold the URL of a Parquet file, or of a folder of such, in an object store."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def suffix(self) -> str:
        """Return the end of its name, from the last point on."""
        return PurePosixPath(self.url).suffix


def find_objects(url: ObjectUrl) -> list[ObjectUrl]:
    """Return the files that a URL stands for, sorted: those of a file, of a folder, or of a pattern.

    Raises:
        DataError: there are none, or the store does not say.
    """
    folder = ObjectUrl(url.url if url.url.endswith("/") else f"{url.url}/")
    for named, glob in ((url, False), (folder, False), (url, True)):
        if glob and not PATTERN.search(url.url):
            continue
        found = _listed(named, glob=glob)
        if found:
            return [ObjectUrl(each) for each in sorted(found)]
    raise DataError(f"{url}: there is no such file or folder in the store")


def _listed(url: ObjectUrl, *, glob: bool) -> list[str]:
    """Return the URLs of files with rows; what is no pattern and does not end with / is one file."""
    scanned = pl.scan_parquet(
        url.url,
        glob=glob,
        hive_partitioning=False,
        hidden_file_prefix=["_", "."],
        include_file_paths=PATHS,
        missing_columns="insert",
        extra_columns="ignore",
        storage_options=_options(ANSWER),
    )
    try:
        with silenced(2):
            if not glob and not url.url.endswith("/"):
                scanned.collect_schema()
                return [url.url]
            paths = scanned.group_by(PATHS).len().collect(engine="streaming")
    except STORE_ERRORS as error:
        if re.search(NOTHING, str(error)) and not re.search(NO_BUCKET, str(error)):
            return []
        raise DataError(f"{url}: {object_fault(error)}") from None
    return paths[PATHS].to_list()


def scan_object(url: ObjectUrl) -> pl.LazyFrame:
    """Open a Parquet file; nothing is read yet."""
    return pl.scan_parquet(url.url, glob=False, hive_partitioning=False, storage_options=_options(PIECE))


def _options(answer: str) -> dict[str, Any]:
    return {"connect_timeout": CONNECT, "timeout": answer, "max_retries": TRIES_AGAIN}


def object_fault(error: BaseException) -> str:
    """Say what is wrong with something in a store, and what to do."""
    text = str(error)
    for pattern, meaning in FAULTS:
        if re.search(pattern, text):
            return meaning
    return f"cannot be read as Parquet: {shortened(error, quoted=False)}"
