"""Identify a process, its job, and the host or container in which its PID is unique."""

import os
from pathlib import Path

from cofi_dist.system.variables import read_variable


def job() -> str:
    """Return the name of this process's job, which its restarts share; empty if there is none."""
    return read_variable("SLURM_JOB_ID") or read_variable("TORCHELASTIC_RUN_ID")


def pid_space() -> str:
    """Return the boot and PID namespace in which this process's PID is unique; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def is_alive(pid: int, start: str) -> bool:
    """Return whether a process exists and is not a later one with the same PID."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return start_time(pid) in (start, "")


def start_time(pid: int) -> str:
    """Return the start time of a process in the kernel's units; empty if unknown, `gone` for a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "gone" if after_name[0] == "Z" else after_name[19]
