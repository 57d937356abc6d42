"""Files and directories that are whole or not there, and of which every byte is checked."""

from cofi_dist.files.atomic import (
    put_in_place,
    refuse_existing,
    remove,
    scratch_directory,
    whole_directory,
    whole_file,
    write_whole,
)
from cofi_dist.files.temporaries import clear_temporaries, discard
from cofi_dist.files.written_file import WrittenFile, finished, reason_of, sync, write_file, written

__all__ = [
    "WrittenFile",
    "clear_temporaries",
    "discard",
    "finished",
    "put_in_place",
    "reason_of",
    "refuse_existing",
    "remove",
    "scratch_directory",
    "sync",
    "whole_directory",
    "whole_file",
    "write_file",
    "write_whole",
    "written",
]
