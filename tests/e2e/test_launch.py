"""The launch scripts, as a user starts them; two nodes are two of them on this machine."""

import os
import shutil
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


# ---- the scripts with the programs that they call present, absent and failing ------------------

# Answers as Python would, and says what it was called for.
PYTHON = """#!/bin/sh
case "$*" in
  "-c "*find_spec*) [ ! -e "$0.without" ] ;;
  "-c "*torch.cuda*) for last; do :; done; echo "${GPUS:-$last}" ;;
  "-c "*version_info*) [ -z "$OLD" ] ;;
  "-c "*getaffinity*) echo 7 ;;
  "-c "*) ;;
  --version) echo "Python $OLD" ;;
  "-m venv .venv") [ -z "$NO_VENV" ] && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  *) echo "$0 $*" | sed "s|^$PWD/||"; case "$*" in *" pip "*) exit "${NO_PIP:-0}" ;; esac ;;
esac
"""
TOOLS = ("bash", "sh", "env", "dirname", "basename", "cat", "cksum", "head", "sed", "mkdir", "cp", "wc")


def program(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts in a folder with blanks in its name, beside `bin` with few programs and a python3."""
    checkout = tmp_path / "a checkout"
    for folder in ("launch", "slurm"):
        shutil.copytree(ROOT / folder, checkout / folder)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, checkout)
    (tmp_path / "bin").mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found, name
        (tmp_path / "bin" / name).symlink_to(found)
    program(tmp_path / "bin/python3", PYTHON)
    (tmp_path / "elsewhere").mkdir()
    return checkout


def call(checkout: Path, script: str, *args: str, **env: str) -> tuple[int, str, str]:
    """Call a script from another folder; what is at the checkout's place is shown as `@`."""
    home = checkout.parent
    done = subprocess.run(
        [home / "bin/bash", os.path.join("..", checkout.name, script), *args],
        cwd=home / "elsewhere",
        env={"PATH": str(home / "bin"), "CDPATH": f"{home}:..", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, *(text.replace(str(home), "@") for text in (done.stdout, done.stderr))  # type: ignore[return-value]


def test_the_python_that_has_cofi_dist_is_taken(checkout: Path) -> None:
    home = checkout.parent
    train = "-m cofi_dist train --config c.yaml a=1\n"
    args = ("launch/single.sh", "--config", "c.yaml", "a=1")
    assert call(checkout, *args) == (0, f"@/bin/python3 {train}", "")
    program(checkout / ".venv/bin/python", PYTHON)
    assert call(checkout, *args) == (0, f"@/a checkout/.venv/bin/python {train}", "")
    active = program(home / "active/bin/python", PYTHON).parents[1]
    assert call(checkout, *args, VIRTUAL_ENV=str(active)) == (0, f"@/active/bin/python {train}", "")
    (active / "bin/python.without").touch()
    assert call(checkout, *args, VIRTUAL_ENV=str(active))[1].startswith("@/a checkout/.venv/bin/python ")
    assert call(checkout, *args, VIRTUAL_ENV=str(home / "gone"))[1].startswith("@/a checkout/.venv/")
    other = program(home / "other one", PYTHON)
    assert call(checkout, *args, PYTHON=str(other)) == (0, f"@/other one {train}", "")


@pytest.mark.parametrize("script", ["single.sh", "torchrun.sh", "multinode.sh"])
def test_without_a_python_that_has_cofi_dist_they_say_so(script: str, checkout: Path) -> None:
    env = {"HEAD": "h", "NNODES": "2"}
    (checkout.parent / "bin/python3.without").touch()
    code, out, err = call(checkout, f"launch/{script}", **env)
    assert (code, out) == (1, "")
    assert err.startswith(f"{script}: no Python here has cofi_dist: ")
    (checkout.parent / "bin/python3").unlink()
    assert call(checkout, f"launch/{script}", **env) == (code, out, err)
    code, out, err = call(checkout, f"launch/{script}", PYTHON="none", **env)
    assert (code, out) == (1, "")
    assert f"{script}: PYTHON=none: does not have cofi_dist" in err


@pytest.mark.parametrize("smi", [None, "exit 9", "echo NVIDIA-SMI has failed; exit 9", "echo GPU 0: x"])
def test_ranks_are_counted_by_what_torch_sees(smi: str | None, checkout: Path) -> None:
    if smi:
        program(checkout.parent / "bin/nvidia-smi", f"#!/bin/sh\n{smi}\n")
    env = {"HEAD": "h", "NNODES": "2"}
    for given, one_node, several in (({}, 7, 1), ({"GPUS": "4"}, 4, 4), ({"RANKS": "3", "GPUS": "4"}, 3, 3)):
        code, out, err = call(checkout, "launch/torchrun.sh", **given)
        assert (code, err) == (0, "")
        assert f"--standalone --nproc-per-node={one_node} -m cofi_dist train" in out
        code, out, err = call(checkout, "launch/multinode.sh", **given, **env)
        assert (code, err) == (0, "")
        assert f"--nnodes=2 --nproc-per-node={several} --rdzv-backend=c10d --rdzv-endpoint=h:29500" in out


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("torchrun.sh", "RANKS"),
        ("multinode.sh", "RANKS"),
        ("multinode.sh", "NNODES"),
        ("multinode.sh", "PORT"),
    ],
)
def test_what_is_no_number_is_named(script: str, name: str, checkout: Path) -> None:
    for value in ("0", "two", "-1", "1.5"):
        env = {"HEAD": "h", "NNODES": "2", name: value}
        says = f"{script}: {name}={value}: must be a whole number, 1 or more\n"
        assert call(checkout, f"launch/{script}", **env) == (1, "", says)


def test_quickstart_hands_its_arguments_on_and_installs_once(checkout: Path) -> None:
    installs = "-m pip install --quiet --constraint constraints.txt --editable .\n"
    trains = "-m cofi_dist quickstart"
    code, out, _ = call(checkout, "launch/quickstart.sh", "train.epochs=3")
    assert (code, out) == (0, f".venv/bin/python {installs}.venv/bin/python {trains} train.epochs=3\n")
    assert call(checkout, "launch/quickstart.sh")[1] == f".venv/bin/python {trains} --replace\n"
    (checkout / ".venv/bin/python").unlink()  # as where the python3 that it was made of is gone
    assert installs in call(checkout, "launch/quickstart.sh")[1]
    moved = checkout.rename(checkout.with_name("moved"))
    assert installs in call(moved, "launch/quickstart.sh")[1], "what is installed points to the old place"
    assert call(moved, "launch/quickstart.sh")[1] == f".venv/bin/python {trains} --replace\n"


@pytest.mark.parametrize("script", ["quickstart.sh", "test.sh"])
@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"PYTHON": "none"}, "needs none, 3.11 or newer"),
        ({"OLD": "3.9.2"}, "needs Python 3.11 or newer; python3 is Python 3.9.2; set PYTHON to another"),
        ({"NO_VENV": "1"}, "python3 cannot make a virtual environment; on Debian or Ubuntu: apt install"),
        ({"NO_PIP": "1"}, "pip could not install the package"),
    ],
)
def test_what_stops_the_installation_is_said(
    script: str, env: dict[str, str], says: str, checkout: Path
) -> None:
    code, _, err = call(checkout, f"launch/{script}", **env)
    assert code == 1
    assert f"{script}: {says}" in err.splitlines()[-1]
    assert not (checkout / ".venv/installed").exists()


def test_extras_are_installed_for_the_tests_and_serve_the_quickstart(checkout: Path) -> None:
    assert "--editable .[dev]\n" in call(checkout, "launch/test.sh")[1]
    assert "pip" not in call(checkout, "launch/quickstart.sh")[1]


JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_NNODES": "2", "SLURM_ARRAY_TASK_ID": "1"}


@pytest.mark.parametrize("script", sorted(ROOT.glob("slurm/*.sbatch")), ids=lambda p: p.name)
def test_batch_scripts_say_what_they_lack(script: Path, checkout: Path) -> None:
    called = f"slurm/{script.name}"
    code, out, err = call(checkout, called)
    assert code != 0
    assert out == ""
    assert "submit this with sbatch" in err
    if script.name == "sweep.sbatch":
        return
    code, out, err = call(checkout, called, **JOB)
    assert code != 0
    assert "scontrol" in err
    assert "srun" not in err, "went on without the name of its first node"
    program(checkout.parent / "bin/scontrol", "#!/bin/sh\necho scontrol: down >&2; exit 1\n")
    code, out, err = call(checkout, called, **JOB)
    assert (code, err) == (1, "scontrol: down\n")
    program(checkout.parent / "bin/scontrol", "#!/bin/sh\necho n1\n")
    code, out, err = call(checkout, called, **JOB, RANKS="two")
    assert (code, err) == (2, "RANKS=two: must be a whole number, 1 or more\n")
    code, out, err = call(checkout, called, **JOB)
    assert code == 127
    assert "srun" in err
