"""Jobs whose ranks run in container images, on a real cluster, by stand-ins for pyxis and Apptainer."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.test_scripts import wait_for_epoch
from tests.support.runs import metrics
from tests.support.slurm_cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STAND_IN = Path(__file__).parents[1] / "support/pyxis_stand_in.c"
HEADER = Path("/usr/include/slurm/spank.h")
ONE_CORE = ["--cpus-per-task=1"]
# like Apptainer, it stays the parent of the program, and passes signals on
APPTAINER = """#!/bin/bash
echo "$@" >> {kept}
while [ "$1" != image.sif ]; do shift; done
shift
"$@" &
for signal in TERM INT HUP USR1; do trap "kill -$signal $!" $signal; done
while kill -0 $! 2> /dev/null; do wait $!; done
wait $!
"""


@pytest.fixture
def here(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory; `store`, beside it, has the ratings."""
    here, store = home / "here", home / "store"
    here.mkdir()
    store.mkdir()
    rows = [f"{user},{item},{1 + user * item % 5}" for user in range(60) for item in range(user % 7, 50, 7)]
    (store / "r.csv").write_text("\n".join(["userId,movieId,rating", *rows, ""]))
    (here / "c.yaml").write_text(
        f"data: {{ratings: {store}/r.csv}}\nmodel: {{num_features: 8}}\n"
        "train: {epochs: 200, log_every: 100, lr: 0.001}\ncheckpoint: {every: 1000}\n"
    )
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def pyxis(cluster: Cluster, home: Path) -> Iterator[Path]:
    """Install the stand-in, which hides the home; return what it keeps of the options."""
    absent = [name for name, there in (("cc", shutil.which("cc")), (HEADER, HEADER.exists())) if not there]
    if absent and "CI" not in os.environ:
        pytest.skip(f"no plugin for SLURM can be compiled here: {absent[0]} is not installed")
    plugin, stack = cluster.home / "pyxis.so", cluster.home / "plugstack.conf"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(plugin), str(STAND_IN)], check=True)
    kept = cluster.home / "containers"
    stack.write_text(f"required {plugin} {home} {kept}\n")
    yield kept
    stack.unlink()


def write(cluster: Cluster, *options: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "cofi_dist", "slurm", "--config", "c.yaml", "--time=10", "--nodes=2"]
    return cluster.client(*program, *options, "run_dir=run")


def test_without_pyxis_its_option_is_refused(cluster: Cluster, here: Path) -> None:
    refused = write(cluster, "--container-image=repo/cofi:1")
    assert refused.returncode == 2
    assert "c.sbatch: srun would refuse it: it has no --container-image" in refused.stderr
    assert not (here / "c.sbatch").exists()


def test_pyxis_gets_the_image_and_what_the_run_needs(cluster: Cluster, here: Path, pyxis: Path) -> None:
    written = write(cluster, "--container-image=repo/cofi:1")
    assert written.returncode == 0, written.stderr
    ended = cluster.wait(job := cluster.submit(here / "c.sbatch", options=ONE_CORE), seconds=90)
    said = (here / f"cofi_dist-{job}.out").read_text()
    assert ended["JobState"] == "COMPLETED", said
    assert "world size 2" in said
    assert metrics(here / "run")[-1]["epoch"] == 200
    store = here.parent / "store"
    assert pyxis.read_text() == f"repo/cofi:1 {here}:{here},{store}:{store} {here}\n" * 2
    options = ["--container-image=x", f"--container-mounts={here}:{here}", f"--container-workdir={here}"]
    alone = cluster.client("srun", *options, "ls", str(here), str(store))
    assert "c.sbatch" in alone.stdout
    assert f"cannot access '{store}'" in alone.stderr, "what is not mounted is not there"


def test_a_job_in_apptainer_is_warned_and_saved(cluster: Cluster, here: Path) -> None:
    kept, bin_ = here / "kept", here.parent / "bin"
    bin_.mkdir()
    (bin_ / "apptainer").write_text(APPTAINER.format(kept=kept))
    (bin_ / "apptainer").chmod(0o755)
    written = write(cluster, "--apptainer=image.sif", "--requeue", "train.epochs=1000000")
    assert written.returncode == 0, written.stderr
    paths = {"PATH": f"{bin_}:{os.environ['PATH']}", "MAX_REQUEUES": "0"}
    job = cluster.submit(here / "c.sbatch", options=ONE_CORE, env=paths)
    wait_for_epoch(here, 100)
    assert cluster.client("scancel", "--batch", "--signal=USR1", str(job)).returncode == 0
    ended = cluster.wait(job, seconds=90)
    said = (here / f"cofi_dist-{job}.out").read_text()
    assert ended["JobState"] == "FAILED", "as it may not be requeued"
    assert said.count("by SIGUSR1; the state is saved") == 1, said
    mounts = f"{here}:{here},{here.parent}/store:{here.parent}/store"
    start = f"exec --nv --bind {mounts} --pwd {here} image.sif {sys.executable} -m torch.distributed.run"
    assert [line.startswith(start) for line in kept.read_text().splitlines()] == [True] * 2
