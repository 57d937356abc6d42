"""The component of TorchX in launch/ is what its schedulers ask for, and trains."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import CONFIG
from tests.support.kubernetes_schema import wrong
from tests.support.runs import metrics

COMPONENT = f"{Path(__file__).parents[2]}/launch/torchx_component.py:train"
TWO_NODES = ["--config", "c.yaml", "--j", "2x2", "--gpu", "2", "--cpu", "8"]
TRAIN = "-m cofi_dist train --config c.yaml train.lr=0.1"

pytest.importorskip("torchx.runner", reason="torchx, of the extra dev, is not installed")

# of TorchX itself, where no scheduler is
pytestmark = pytest.mark.filterwarnings("ignore")


def dry_run(scheduler: str, *args: str, **settings: Any) -> Any:
    """What the scheduler would be asked."""
    from torchx.runner import get_runner

    with get_runner() as runner:
        return runner.dryrun_component(COMPONENT, list(args), scheduler=scheduler, cfg=settings).request


def test_on_kubernetes_its_pods_are_right() -> None:
    from kubernetes.client import ApiClient

    mounts = "type=bind,src=/data,dst=/data"
    args = [*TWO_NODES, "--image", "i:1", "--mounts", mounts, "train.lr=0.1"]
    request = dry_run("kubernetes", *args, queue="q", validate_spec=False)
    job = ApiClient().sanitize_for_serialization(request.resource)
    pods = [task["template"] for task in job["spec"]["tasks"]]
    assert len(pods) == 2
    for pod in pods:
        assert list(wrong(pod, "V1Pod" if "kind" in pod else "V1PodTemplateSpec")) == []
        (container,) = pod["spec"]["containers"]
        assert container["image"] == "i:1"
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
        env = {each["name"]: each.get("value") for each in container["env"]}
        assert env["OMP_NUM_THREADS"] == "4", "CPUs of a rank"
        assert len(env["COFI_DIST_TOKEN"]) == 32
        assert "--nnodes 2 --nproc_per_node 2" in container["command"][-1]
        assert container["command"][-1].endswith(f"{TRAIN} checkpoint.resume=auto")
        assert "/data" in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_on_slurm_every_node_starts_torchrun() -> None:
    script = str(dry_run("slurm", *TWO_NODES, "train.lr=0.1", "checkpoint.resume=none"))
    assert script.count(f"{TRAIN} checkpoint.resume=none") == 2
    assert "COFI_DIST_TOKEN=" in script


@pytest.mark.slow
def test_it_trains_on_two_ranks(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG.replace("epochs: 60", "epochs: 20"))
    rows = [f"{user},{item},{1 + user * item % 5}" for user in range(40) for item in range(user % 3, 30, 3)]
    (tmp_path / "r.csv").write_text("\n".join(["userId,movieId,rating", *rows, ""]))
    torchx = [sys.executable, "-m", "torchx.cli.main", "run", "--scheduler", "local_cwd"]
    place = ["--scheduler_args", f"log_dir={tmp_path}/logs,prepend_cwd=false"]
    options = ["--config", "c.yaml", "--j", "1x2", "--cpu", "2", "run_dir=run", "train.log_every=20"]
    # torchrun is found by its name, as in an image
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [*torchx, *place, COMPONENT, *options]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "world size 2, backend gloo" in done.stdout + done.stderr
    assert metrics(tmp_path / "run")[-1]["epoch"] == 20
