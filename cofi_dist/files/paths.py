"""Read paths as names, taken as they stand, except for a home directory (~ or ~user) at their start."""

import os
import pwd
import re

DATA_SETS = "data"  # where known data sets are, unless something else is asked for
# What begins the URLs of object stores that polars reads from.
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss", "hf", "http", "https")
TEXT_FILES = (".csv", ".tsv", ".dat", ".data", ".gz", ".zst")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(text: str) -> bool:
    """Tell whether a text is a URL, which is no path."""
    return URL.match(text) is not None


def as_path(text: str) -> str:
    """Return a path as a user wrote it, with its home directory written out.

    Called once, where the path comes in. The result is a plain name: a relative path that begins with ~, such
    as ./~x, is made absolute, so that nothing takes it for a home directory later.

    Raises:
        ValueError: it is empty, a URL or not a name, or there is no such home directory.
    """
    if not text:
        raise ValueError("a path is empty; is a variable not set?")
    if "\0" in text:
        raise ValueError("a path cannot hold a NUL")
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{text!r} is not UTF-8, and not every program opens such names; rename it")
    if is_url(text):
        raise ValueError(f"{text} is a URL, and only files are read and written; copy it here first")
    if text.startswith("~"):
        user, slash, rest = text[1:].partition("/")
        return f"{_home(user)}{slash}{rest}"
    if os.path.normpath(text).startswith("~"):
        try:
            return os.path.join(os.getcwd(), text)
        except OSError as error:
            raise ValueError(f"{text}: the working directory is gone: {error.strerror}") from None
    return text


def as_data_path(text: str) -> str:
    """Return a path as `as_path` does, or the URL of something in an object store as it is.

    Raises:
        ValueError: as `as_path` does; or it is the URL of a text file.
    """
    scheme, is_named, _ = text.partition("://")
    if not is_named or scheme.lower() not in OBJECT_STORES:
        return as_path(text)
    if text.lower().endswith(TEXT_FILES):
        raise ValueError(f"{text}: of object stores, only Parquet files are read; copy it here first")
    return text


def _home(user: str) -> str:
    try:
        if user:
            home = pwd.getpwnam(user).pw_dir
        else:
            home = os.environ["HOME"] if "HOME" in os.environ else pwd.getpwuid(os.getuid()).pw_dir
    except (KeyError, ValueError):
        what = f"there is no user {user}" if user else "HOME is not set, and this user has no home directory"
        raise ValueError(f"~{user}: {what}; write the directory out, or ./~{user} for that name") from None
    if not home.startswith("/"):
        what = f"the home directory is {home!r}, which is not an absolute path"
        raise ValueError(f"~{user}: {what}; write it out")
    return home
