"""What a run needs is compared with what is free: of the machine, of containers and jobs, by ulimit."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from cofi_dist.errors import ConfigError
from cofi_dist.system.memory import free_memory, is_out_of_memory, require_memory

MACHINE = 10**12
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=MACHINE))


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


V2 = {
    "proc/self/cgroup": "0::/slurm/job_7/step_0\n",
    "proc/self/mountinfo": "30 20 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    "sys/fs/cgroup/slurm/job_7/memory.max": "5000\n",
    "sys/fs/cgroup/slurm/job_7/memory.current": "1500\n",
    "sys/fs/cgroup/slurm/job_7/memory.stat": "inactive_file 300\nactive_file 60\nslab_reclaimable 40\n",
    "sys/fs/cgroup/slurm/job_7/step_0/memory.max": "max\n",
    "sys/fs/cgroup/slurm/job_7/step_0/memory.current": "1500\n",
    "sys/fs/cgroup/slurm/job_7/step_0/memory.stat": "inactive_file 0\n",
}
V1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:memory,x:/docker/abc\n0::/\n",
    # a container sees its own group alone, as the root; another mount holds other controllers
    "proc/self/mountinfo": "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,x,memory\n"
    "36 31 0:33 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n"
    "37 31 0:34 / /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "7000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000\n",
    "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 300\ntotal_active_file 200\n",
}


@pytest.mark.parametrize(("files", "free"), [(V2, 3900), (V1, 5500), ({}, MACHINE)])
def test_a_control_group_and_those_around_it_are_limits(
    files: dict[str, str], free: int, tmp_path: Path
) -> None:
    write(tmp_path, files)
    assert free_memory(root=tmp_path) == free
    assert free_memory(local_world_size=4, root=tmp_path) == free // 4


def test_the_smallest_group_counts_and_never_less_than_nothing(tmp_path: Path) -> None:
    step = "sys/fs/cgroup/slurm/job_7/step_0"
    write(tmp_path, {**V2, f"{step}/memory.max": "2000\n"})
    assert free_memory(root=tmp_path) == 500
    write(tmp_path, {**V2, f"{step}/memory.max": "1000\n"})
    assert free_memory(root=tmp_path) == 0


@pytest.mark.parametrize("text", ["", "no such line\n", "1 2 3\n", "0::/gone\n"])
def test_what_says_nothing_is_no_limit(text: str, tmp_path: Path) -> None:
    write(tmp_path, {"proc/self/cgroup": text, "proc/self/mountinfo": text})
    assert free_memory(root=tmp_path) == MACHINE


LIMITED = """
import resource, sys
from cofi_dist.system.memory import free_memory
before = free_memory()
resource.setrlimit(getattr(resource, sys.argv[1]), (2**31, 2**31))
assert 0 < free_memory(local_world_size=1) < 2**31, free_memory()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sizes of a process are read from /proc")
@pytest.mark.parametrize("name", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_ulimit_is_a_limit(name: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", LIMITED, name], env=env, check=True)


def test_what_does_not_fit_is_refused_in_a_line_however_large() -> None:
    require_memory(100, 100, "this", "do that")
    with pytest.raises(ConfigError, match=r"^this needs about 2 GB; 1 GB are free; do that$"):
        require_memory(2 * 10**9, 10**9, "this", "do that")
    with pytest.raises(ConfigError, match="needs about 10,000,000,"):
        require_memory(10**400, 1, "this", "do that")


def test_what_could_not_be_had_is_told_from_other_errors() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
    assert is_out_of_memory(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert is_out_of_memory(OSError(12, "Cannot allocate memory"))
    assert not is_out_of_memory(RuntimeError("a bug"))
