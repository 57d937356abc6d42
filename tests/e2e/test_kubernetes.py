"""The PyTorchJob of launch/kubernetes is one by its schema, and trains with the operator's variables."""

import copy
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cofi_dist.config import load_config
from tests.support.kubernetes_schema import KINDS, wrong
from tests.support.runs import metrics

MANIFEST = Path(__file__).parents[2] / "launch/kubernetes/pytorchjob.yaml"


@pytest.fixture
def objects() -> dict[str, Any]:
    """Return the objects of the manifest by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


@pytest.fixture
def container(objects: dict[str, Any]) -> dict[str, Any]:
    """Return the container of a pod."""
    pod = objects["PyTorchJob"]["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    container: dict[str, Any] = pod["containers"][0]
    return container


def test_the_manifest_is_what_its_schemas_ask_for(objects: dict[str, Any]) -> None:
    pytest.importorskip("kubeflow.training", reason="kubeflow-training, of the extra dev, is not installed")
    assert set(objects) == {"ConfigMap", "PersistentVolumeClaim", "PyTorchJob"}
    found = [said for kind, each in objects.items() for said in wrong(each, KINDS[kind], kind)]
    assert found == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["spec", "elasticPolicy", "maxRestart"], 3, ".maxRestart: is no key of KubeflowOrgV1ElasticPolicy"),
        (["spec", "elasticPolicy", "maxRestarts"], "3", ".maxRestarts: '3' is no int"),
        (["spec", "pytorchReplicaSpecs"], None, "Invalid value for `pytorch_replica_specs`"),
        (["spec", "pytorchReplicaSpecs", "Worker", "template", "spec", "containers"], None, "`containers`"),
        (["metadata"], ["a"], "PyTorchJob.metadata: ['a'] is no V1ObjectMeta"),
    ],
)
def test_a_mistake_is_found(objects: dict[str, Any], path: list[str], value: Any, said: str) -> None:
    pytest.importorskip("kubeflow.training", reason="kubeflow-training, of the extra dev, is not installed")
    changed = inner = copy.deepcopy(objects["PyTorchJob"])
    for key in path[:-1]:
        inner = inner[key]
    inner.pop(path[-1], None)
    if value is not None:
        inner[path[-1]] = value
    (found,) = wrong(changed, KINDS["PyTorchJob"], "PyTorchJob")
    assert said in found


def test_its_parts_fit_each_other(objects: dict[str, Any], container: dict[str, Any], tmp_path: Path) -> None:
    job = objects["PyTorchJob"]
    pod = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    values = {each["name"]: each.get("value") for each in container["env"]}
    assert pod["terminationGracePeriodSeconds"] > int(values["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"])
    assert container["name"] == "pytorch", "the operator's own rule"
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert set(volumes) == set(mounts)
    assert volumes["config"]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    claim = objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim
    file = Path(container["args"][-1])
    assert str(file.parent) == mounts["config"]
    (tmp_path / file.name).write_text(objects["ConfigMap"]["data"][file.name])
    config = load_config(tmp_path / file.name)
    assert config.checkpoint.resume == "auto", "a pod that restarts goes on"
    assert config.run_dir.startswith(f"{mounts['data']}/")
    assert str(config.data.ratings).startswith(f"{mounts['data']}/")


def of_the_operator(job: dict[str, Any], pods: int, port: int) -> dict[str, str]:
    """What the operator sets in each pod of an elastic job."""
    policy = job["spec"]["elasticPolicy"]
    return {
        "PYTHONUNBUFFERED": "0",
        "PET_RDZV_ENDPOINT": f"127.0.0.1:{port}",
        "PET_RDZV_BACKEND": policy["rdzvBackend"],
        "PET_NNODES": f"{pods}:{pods}",
        "PET_MAX_RESTARTS": str(policy["maxRestarts"]),
        "PET_RDZV_ID": policy["rdzvId"],
    }


@pytest.mark.slow
def test_pods_train_with_what_the_operator_sets(
    objects: dict[str, Any], container: dict[str, Any], tmp_path: Path
) -> None:
    args = [arg.replace("/config", str(tmp_path)) for arg in container["args"]]
    command = [
        sys.executable,
        *container["command"][1:-1],
        "--nproc-per-node=1",
        *args,
        "model.num_features=4",
    ]
    text = objects["ConfigMap"]["data"]["train.yaml"].replace("/data", str(tmp_path))
    (tmp_path / "train.yaml").write_text(text.replace("epochs: 300", "epochs: 20"))
    rows = [f"{user},{item},{1 + user * item % 5}" for user in range(40) for item in range(user % 3, 30, 3)]
    (tmp_path / "ratings.csv").write_text("\n".join(["userId,movieId,rating", *rows, ""]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = {"COFI_DIST_TOKEN": "0123456789abcdef", "OMP_NUM_THREADS": "1"}
    env = {**os.environ, **token, **of_the_operator(objects["PyTorchJob"], 2, port)}
    with (tmp_path / "out").open("w") as out:
        pods = [subprocess.Popen(command, cwd=tmp_path, env=env, stdout=out, stderr=out) for _ in range(2)]
        codes = [pod.wait(timeout=120) for pod in pods]
    said = (tmp_path / "out").read_text()
    assert codes == [0, 0], said
    assert "world size 2, backend gloo" in said
    assert metrics(tmp_path / "runs/mine")[-1]["epoch"] == 20
