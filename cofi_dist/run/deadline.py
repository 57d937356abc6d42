"""When a run is to save and leave by itself: so long after its start, or before its SLURM job ends."""

import math
import os
import subprocess
from datetime import datetime

import psutil

from cofi_dist.errors import ConfigError
from cofi_dist.system.launcher import Launcher
from cofi_dist.system.variables import read

ASK_SECONDS = 30.0


def stop_time(deadline: float | None) -> float:
    """The time at which the run shall leave, in seconds of the clock; infinite for none.

    Args:
        deadline: `train.deadline`: seconds after the command was started (by torchrun, where that
            starts the ranks, so that a restart doesn't begin to count anew); or, below 0, seconds
            before the SLURM job ends.

    Raises:
        ConfigError: the end of the job is asked for, and there is none.
    """
    if deadline is None:
        return math.inf
    if deadline < 0:
        return _end_of_job(deadline) + deadline
    launcher = Launcher.find()
    since = (
        launcher.since if launcher is not None and launcher.is_torchrun else psutil.Process().create_time()
    )
    return since + deadline


def _end_of_job(deadline: float) -> float:
    # squeue takes the number of one of an array's tasks for that of the array
    array, task = read("SLURM_ARRAY_JOB_ID"), read("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else read("SLURM_JOB_ID")
    if not job:
        raise ConfigError(
            f"train.deadline: {deadline:g} counts back from the end of a SLURM job, and this is none;"
            " give seconds from the start, such as 3600"
        )
    said = read("SLURM_JOB_END_TIME")  # of newer SLURM versions
    if said.isdecimal() and said.isascii():
        return float(said)
    command = ["squeue", "--noheader", f"--jobs={job}", "--format=%e"]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=ASK_SECONDS,
            env={**os.environ, "SLURM_TIME_FORMAT": "standard"},
        )
        return datetime.fromisoformat(done.stdout.strip()).timestamp()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigError(
            f"train.deadline: {deadline:g}: SLURM does not say when job {job} ends"
            f" ({' '.join(str(error).split())}); give it a time limit, or seconds from the start"
        ) from None
