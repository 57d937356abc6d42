"""Which variables a real SLURM gives to a task, and to the shell of an allocation."""

import sys
from pathlib import Path

import pytest

from tests.support.slurm_cluster import ENDED, Cluster

pytestmark = pytest.mark.timeout(200)

ALONE = "from cofi_dist.system.variables import read_placement; print(read_placement())"


def test_tasks_of_srun_are_refused_and_the_shell_of_an_allocation_is_not(
    cluster: Cluster, home: Path
) -> None:
    python = (sys.executable, "-c", ALONE)
    tasks = cluster.client("srun", "--ntasks=2", *python)
    assert tasks.returncode != 0
    assert tasks.stderr.count("SLURM_STEP_NUM_TASKS=2: srun started 2 processes that know nothing") == 2
    one = cluster.client("srun", "--ntasks=1", *python)
    assert (one.returncode, one.stdout) == (0, "None\n"), one.stderr
    shell = cluster.client("salloc", "--ntasks=2", *python)
    assert (shell.returncode, shell.stdout) == (0, "None\n"), shell.stderr
    (home / "batch").write_text(f"#!/bin/bash\n#SBATCH --ntasks=2\n{sys.executable} -c '{ALONE}'\n")
    job = cluster.submit(home / "batch", options=("--output=out",))
    cluster.wait(job, *ENDED, seconds=90)
    assert (home / "out").read_text() == "None\n"
