"""`recommend` under real torchrun: the parts of all ranks are the lists of one, or are not there."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.support.commands import cofi, fine

LAUNCHER = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
FAILING = """
import os
import cofi_dist.cli.many_lists
from cofi_dist.cli.main import main
from cofi_dist.errors import RunError

def fail(table, output):
    output.write_bytes(b"half")
    raise RunError(f"{output}: cannot be written: No space left on device")

if os.environ["RANK"] == "1":
    cofi_dist.cli.many_lists.write_table = fail
main()
"""


@pytest.mark.slow
def test_two_ranks_write_the_lists_of_one_or_nothing(home: Path, tmp_path: Path) -> None:
    lists = ["recommend", "runs/c", "--all", "-k", 4, "--output"]
    one = cofi(*lists, tmp_path / "one.parquet", cwd=home)
    two = cofi(*lists, tmp_path / "two", cwd=home, launcher=LAUNCHER)
    assert fine(two) == fine(one) == ""
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == [
        "part-00000-of-00002.parquet",
        "part-00001-of-00002.parquet",
    ]
    assert pl.read_parquet(tmp_path / "two").equals(pl.read_parquet(tmp_path / "one.parquet"))
    said = [line for line in two.stderr.splitlines() if "OMP_NUM_THREADS" not in line]
    assert said[0] == f"the 4 best items of 30 users written to {tmp_path / 'two'}, in 2 parts"
    assert said[1:] == one.stderr.splitlines()[1:]

    (tmp_path / "failing.py").write_text(FAILING)
    command = [sys.executable, *LAUNCHER, tmp_path / "failing.py", *lists, tmp_path / "failed"]
    failed = subprocess.run(
        [*map(str, command)],
        cwd=home,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=100,
    )
    part = tmp_path / "failed" / "part-00001-of-00002.parquet"
    ours = [line for line in failed.stderr.splitlines() if line.startswith("cofi-dist: ")]
    assert ours == [f"cofi-dist: rank 1: {part}: cannot be written: No space left on device"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failing.py", "one.parquet", "two"]
