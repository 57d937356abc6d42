"""The variables that other programs leave: each is in the table, and a wrong one is refused by its name."""

import ast
import os
import socket
import sys
from pathlib import Path

import pytest

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.distributed.rendezvous import init_comm
from cofi_dist.errors import ConfigError, TrainingError
from cofi_dist.slurm.sbatch import OPTION_VARIABLES
from cofi_dist.system.variables import VARIABLES, RankPlacement, clean_library_variables, read_placement
from tests.e2e.conftest import here
from tests.e2e.test_cli import cofi

__all__ = ["here"]

ROOT = Path(__file__).parents[2] / "cofi_dist"
TWO = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
STEP = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_ID": "0"}


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_variables_are_read_in_one_place() -> None:
    for file in set(ROOT.rglob("*.py")) - {ROOT / "system" / "variables.py"}:
        is_reader = "from cofi_dist.system.variables import" in file.read_text()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv"):
                # handed on whole, or of another process; HOME, of which an empty one is refused
                assert file.name in ("deadline.py", "launcher.py", "slurm.py", "paths.py", "warm_up.py"), file
            if not is_reader or not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "read":
                (name,) = node.args
                assert isinstance(name, ast.Constant)
                assert name.value in VARIABLES, (file, name.value)


@pytest.mark.parametrize("rank", ["", "1", "-1", "nonsense"])
@pytest.mark.parametrize("world_size", [None, "", "1"])
def test_one_process_is_one_whatever_rank_it_was(
    world_size: str | None, rank: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(
        monkeypatch, RANK=rank, LOCAL_RANK="x", **({} if world_size is None else {"WORLD_SIZE": world_size})
    )
    assert isinstance(init_comm(), SoloComm)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("WORLD_SIZE", value) for value in ("abc", "0", "-2", "2.0", "1_0", "1" * 5000)),
        *(("RANK", value) for value in ("", "-1", "2", "abc")),
        *(("LOCAL_RANK", value) for value in ("-1", "2", "abc")),
        *(("LOCAL_WORLD_SIZE", value) for value in ("0", "3", "abc")),
        *(("MASTER_PORT", value) for value in ("", "0", "65536", "abc")),
        ("MASTER_ADDR", ""),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, **{**TWO, name: value})
    with pytest.raises(ConfigError, match=rf"\b{name}\b.*unset WORLD_SIZE to run in one process"):
        read_placement()


def test_the_table_has_what_sbatch_takes() -> None:
    assert set(OPTION_VARIABLES) <= set(VARIABLES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("NUMBA_NUM_THREADS", value) for value in ("0", "-3", "abc")),
        ("NUMBA_DISABLE_JIT", "yes"),
        ("POLARS_MAX_THREADS", "0"),
    ],
)
def test_what_would_end_a_library_in_a_traceback_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, **{name: value})
    with pytest.raises(ConfigError, match=rf"^{name}={value}: must be a whole number, .*; unset it$"):
        clean_library_variables()


def test_what_is_empty_or_a_notebook_s_is_no_library_s_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    given(monkeypatch, NUMBA_NUM_THREADS="", NUMBA_DISABLE_JIT=" ", POLARS_MAX_THREADS="", **backend)
    clean_library_variables()
    assert not {"NUMBA_NUM_THREADS", "NUMBA_DISABLE_JIT", "POLARS_MAX_THREADS", "MPLBACKEND"} & set(
        os.environ
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("NUMBA_DISABLE_JIT", "1", "cofi-dist: NUMBA_DISABLE_JIT: this needs compiled loops; unset it"),
        ("NUMBA_THREADING_LAYER", "none", "cofi-dist: NUMBA_THREADING_LAYER: numba can start no threads ("),
    ],
)
def test_a_run_whose_loops_cannot_be_compiled_or_called_leaves_nothing(
    name: str, value: str, says: str, here: Path
) -> None:
    done = cofi("train", "--config", "tiny.yaml", cwd=here, **{name: value})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(says)
    assert "Traceback" not in done.stderr
    assert os.listdir(here) == ["tiny.yaml"]


def test_torchrun_says_where_a_rank_is(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **{**TWO, "MASTER_ADDR": "[::1]"}, LOCAL_RANK="1", TORCHELASTIC_USE_AGENT_STORE="True")
    assert read_placement() == RankPlacement(1, 2, 1, 2, "::1", 9, has_agent=True)


@pytest.mark.parametrize(
    "left",
    [
        *({**STEP, "SLURM_STEP_ID": step} for step in ("0", "3")),
        {**STEP, "SLURM_STEP_NUM_TASKS": "2"},
        {"OMPI_COMM_WORLD_SIZE": "2"},
        {"PMI_SIZE": "2"},
    ],
)
def test_tasks_that_know_nothing_of_each_other_are_refused(
    left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, **left)
    with pytest.raises(ConfigError, match=r"=2: .* started 2 processes .* torchrun starts the ranks"):
        read_placement()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert read_placement() is None, "said on purpose"


@pytest.mark.parametrize(
    "left",
    [
        {"SLURM_NTASKS": "2"},  # salloc
        {"SLURM_NTASKS": "2", "SLURM_PROCID": "0"},  # sbatch
        {**STEP, "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1"},  # salloc, interactive step
        {**STEP, "SLURM_NTASKS": "1"},
        {**STEP, "SLURM_PTY_PORT": "40000"},  # srun --pty
        {**STEP, "SLURM_NTASKS": ""},
        {"PMI_SIZE": "1"},
    ],
)
def test_the_shell_of_an_allocation_is_one_process(
    left: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, **left)
    assert read_placement() is None


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("agent", ["True", "False"])
@pytest.mark.parametrize("host", ["127.0.0.1", "gone.invalid"])
def test_ranks_that_never_come_are_named_in_one_line(
    host: str,
    agent: str,
    rank: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.modules[init_comm.__module__], "MEET_SECONDS", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    left = {**TWO, "RANK": rank, "MASTER_ADDR": host, "MASTER_PORT": port}
    given(monkeypatch, **left, TORCHELASTIC_USE_AGENT_STORE=agent)
    with pytest.raises(TrainingError, match=rf"WORLD_SIZE=2 MASTER_ADDR={host}.*unset WORLD_SIZE") as error:
        init_comm()
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == "", "torch writes there by itself"


def test_a_port_that_keeps_silent_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[init_comm.__module__], "MEET_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        given(monkeypatch, **{**TWO, "MASTER_PORT": port})
        with pytest.raises(TrainingError, match=f"{port} is open, but is not where these ranks meet"):
            init_comm()
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(ConfigError, match=f"MASTER_PORT={port}: another program has it on this host"):
            init_comm()


def test_a_process_on_its_own_says_why_it_failed(tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "data: {synthetic: {num_users: 9, num_items: 9, num_ratings: 30}}\ntrain: {lr: 1.0e+30}\n"
    )
    error_file = tmp_path / "gone" / "error.json"  # of a torchrun that is no more
    left = {"RANK": "1", "LOCAL_RANK": "1", "TORCHELASTIC_ERROR_FILE": str(error_file)}
    done = cofi("train", "--config", config, cwd=tmp_path, **left)
    assert done.returncode == 1
    assert "the cost is nan" in done.stderr or "the cost is inf" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_variables_of_a_job_that_is_gone_are_no_traceback(tmp_path: Path) -> None:
    done = cofi("train", "--config", "none.yaml", cwd=tmp_path, WORLD_SIZE="two")
    assert done.returncode == 2
    assert done.stderr.startswith("cofi-dist: WORLD_SIZE=two: must be a whole number")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
