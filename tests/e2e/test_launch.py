"""The launch scripts, as a user starts them; two nodes are two of them on this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def start(script: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["bash", str(ROOT / "launch" / script), "--config", "tiny.yaml"],
        cwd=cwd,
        env={**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(("script", "ranks"), [("single.sh", 1), ("torchrun.sh", 2)])
def test_one_node(script: str, ranks: int, here: Path) -> None:
    with start(script, here, RANKS=str(ranks)) as job:
        out, err = job.communicate(timeout=250)
    assert job.returncode == 0, err
    assert out.startswith("Using ")
    assert f"world size {ranks}, backend" in err
    assert (here / "runs/tiny/model/factors.safetensors").exists()


def test_two_nodes_meet_at_head(here: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"HEAD": "127.0.0.1", "NNODES": "2", "PORT": port, "RANKS": "1"}
    with start("multinode.sh", here, **env) as one, start("multinode.sh", here, **env) as two:
        outputs = [job.communicate(timeout=250) for job in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], outputs
    assert sorted(bool(out) for out, _ in outputs) == [False, True], "rank 0 alone prints"
    assert sum("world size 2, backend gloo" in err for _, err in outputs) == 1


def test_multinode_says_what_it_needs(here: Path) -> None:
    with start("multinode.sh", here) as job:
        _, err = job.communicate(timeout=60)
    assert job.returncode != 0
    assert "HEAD: the host that the nodes meet at" in err


@pytest.mark.parametrize(
    "script", sorted([*ROOT.glob("launch/*.sh"), *ROOT.glob("slurm/*.sbatch")]), ids=lambda p: p.name
)
def test_scripts_parse(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)


@pytest.mark.parametrize("script", sorted(ROOT.glob("slurm/*.sbatch")), ids=lambda p: p.name)
def test_no_sbatch_line_follows_a_command(script: Path) -> None:
    lines = script.read_text().splitlines()
    first_command = next(n for n, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:]), "sbatch would ignore it"
    assert "#SBATCH --ntasks-per-node=1" in script.read_text()
