"""Find and open Parquet files in an object store, as polars reaches it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from cofi_dist.files.reading import shortened

STORE_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ImportError, ValueError)
PATTERN = re.compile(r"[*?\[]")
# How long polars waits for a connection and for an answer, and how often it tries again. Lists and footers
# are short; a piece of a column has up to 64 MB.
CONNECT, ANSWER, PIECE, TRIES_AGAIN = "5s", "10s", "300s", "1"
# What polars' messages say, and what that means.
FAULTS = (
    ("NoSuchBucket|ContainerNotFound|bucket does not exist", "there is no such bucket; is its name right?"),
    (
        r"169\.254\.16[0-9]|169\.254\.170|latest/api/token|NoCredentials|did not receive any credentials",
        "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of the store",
    ),
    (
        "401 Unauthorized|403 Forbidden|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|privileges",
        "the store refuses access; are the credentials right, and may they read this?",
    ),
    ("expanded paths were empty|not found|404 Not Found", "there is no such file or folder in the store"),
    (
        "error sending request|timed out|Connection refused|dns error|retry_timeout",
        "the store does not answer; is the network there, and is AWS_ENDPOINT_URL right?",
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

    @property
    def options(self) -> dict[str, Any]:
        """Return how long polars may wait."""
        return {"connect_timeout": CONNECT, "timeout": ANSWER, "max_retries": TRIES_AGAIN}


def find_objects(url: ObjectUrl) -> Sequence[ObjectUrl]:
    """Return the Parquet files that a URL stands for."""
    return [url]


def scan_object(url: ObjectUrl) -> pl.LazyFrame:
    """Open a Parquet file; nothing is read yet."""
    options = url.options | {"timeout": PIECE}
    return pl.scan_parquet(url.url, glob=False, hive_partitioning=False, storage_options=options)


def object_fault(url: ObjectUrl, error: BaseException) -> str:
    """Say what is wrong with something in a store, and what to do."""
    text = str(error)
    for pattern, meaning in FAULTS:
        if re.search(pattern, text):
            return meaning
    return f"cannot be read as Parquet: {shortened(error, quoted=False)}"
