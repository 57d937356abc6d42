"""Compute the time at which a run saves and stops by itself."""

import math
import os
import subprocess
from datetime import datetime

import psutil

from cofi_dist.errors import ConfigError
from cofi_dist.system.launcher import Launcher
from cofi_dist.system.variables import read_variable

SQUEUE_TIMEOUT = 30.0  # seconds


def stop_time(deadline: float | None, since: float | None = None) -> float:
    """Return the time at which the run is to stop, in seconds since the epoch; infinite for none.

    Args:
        deadline: `train.deadline`. If positive, seconds after the start of the command, or of torchrun, so
            that a restart does not count anew. If negative, seconds before the end of the SLURM job.
        since: from when a positive deadline counts instead, in seconds since the epoch.

    Raises:
        ConfigError: the deadline refers to the end of a job, but there is no job, or it has no known end.
    """
    if deadline is None:
        return math.inf
    if deadline < 0:
        return _end_of_job(deadline) + deadline
    if since is not None:
        return since + deadline
    launcher = Launcher.find()
    since = (
        launcher.since if launcher is not None and launcher.is_torchrun else psutil.Process().create_time()
    )
    return since + deadline


def _end_of_job(deadline: float) -> float:
    """Return the time at which the SLURM job ends, in seconds since the epoch."""
    # If given the job ID of an array's task, squeue takes it for that of the whole array.
    array, task = read_variable("SLURM_ARRAY_JOB_ID"), read_variable("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else read_variable("SLURM_JOB_ID")
    if not job:
        raise ConfigError(
            f"train.deadline: {deadline:g} counts back from the end of a SLURM job, and this is none;"
            " give seconds from the start, such as 3600"
        )
    end_time = read_variable("SLURM_JOB_END_TIME")  # set by newer SLURM versions
    if end_time.isdecimal() and end_time.isascii():
        return float(end_time)
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%e"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=SQUEUE_TIMEOUT,
            env={**os.environ, "SLURM_TIME_FORMAT": "standard"},
        )
        return datetime.fromisoformat(done.stdout.strip()).timestamp()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigError(
            f"train.deadline: {deadline:g}: SLURM does not say when job {job} ends"
            f" ({' '.join(str(error).split())}); give it a time limit, or seconds from the start"
        ) from None
