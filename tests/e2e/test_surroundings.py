"""Commands where the process's surroundings lack what most of them have."""

import os
import subprocess
import sys
from pathlib import Path

CONFIG = """
data: {synthetic: {num_users: 20, num_items: 15, num_ratings: 100}}
model: {num_features: 3}
train: {epochs: 3, cost: dense}
checkpoint: {every: 2}
"""

# numba can't be imported, nor has the user a home or a name
COMMANDS = """
import os, pwd, sys

def nameless(number):
    raise KeyError(number)

pwd.getpwuid = nameless
os.environ.pop("HOME", None)
sys.modules["numba"] = None
from cofi_dist.cli.main import app
from cofi_dist.cli.session import Session

for line in sys.stdin:
    print(line, end="", flush=True)
    app(line.split(), standalone_mode=False, obj=Session())
"""


def test_commands_that_need_no_compiled_loops_import_none(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "mine.csv").write_text("movieId,rating\n1,5\n2,3\n")
    lines = [
        "config c.yaml",
        "train --config c.yaml run_dir=r",
        "checkpoints r",
        "train --config c.yaml run_dir=s",
        "compare r s",
        "export r --format pt --output e",
        "recommend r --user 1",
        "recommend r --ratings mine.csv",
        "similar r --item 1",
        "report r",
    ]
    given = [sys.executable, "-c", COMMANDS]
    done = subprocess.run(
        given, cwd=tmp_path, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bit-identical" in done.stdout


def test_without_a_folder_for_matplotlib_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    env = {**os.environ, "MPLCONFIGDIR": str(tmp_path / "file")}
    done = subprocess.run(
        [sys.executable, "-c", PICTURES], env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].endswith(
        "ConfigError: pictures need a folder that matplotlib can write to; set MPLCONFIGDIR to one"
    )


PICTURES = """
import tempfile
tempfile.tempdir = "/proc/none"
from cofi_dist.report.plot import require_matplotlib
require_matplotlib()
"""
