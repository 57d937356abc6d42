"""What a path means: a name, taken as it stands, but for ~ or ~user at its start, a home directory."""

import os
import pwd
import re

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def as_path(text: str) -> str:
    """A path as somebody wrote it, its home directory written out; for the edge, where it comes in.

    What this returns is a plain name for everybody: a relative one that begins with ~, as ./~x does, is made
    absolute, so that nobody takes it for a home directory later.

    Raises:
        ValueError: in plain words: it is empty, a URL or no name at all, or there is no such home directory.
    """
    if not text:
        raise ValueError("a path is empty; is a variable not set?")
    if "\0" in text:
        raise ValueError("a path cannot hold a NUL")
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{text!r} is no UTF-8, and not everything opens such names; rename it")
    if URL.match(text):
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
        raise ValueError(f"~{user}: the home directory is {home!r}, which is no absolute path; write it out")
    return home
