"""A run that never took a step leaves nothing, and says in one line what to change."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cofi_dist.run.stop import SIGNALS
from tests.support.commands import cofi

TRAIN = ["train", "--config", "tiny.yaml", "run_dir=run"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["model.num_features=2000000000"],
            "model.num_features: learning 2000000000 for 30 users and 40 items",
        ),
        (
            ["train.reduction=invariant", "train.blocks=4503599627370496"],
            "train.blocks: 4503599627370496 for",
        ),
        (["train.lambda_=1.0e+39"], "lambda_: 1e+39 is too large for float32; set 3.4e+38 at most"),
        (["train.lr=1.0e+38", "train.cost=dense"], "lr: 1e+38 is too large for float32; set 3.4e+37 at most"),
    ],
)
def test_what_is_too_large_is_one_line_and_leaves_nothing(given: list[str], said: str, here: Path) -> None:
    done = cofi(*TRAIN, *given, cwd=here)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (here / "run").exists()


# the first step fails as no CofiError does, or is asked to stop before
BROKEN = """
import os, signal, sys
from cofi_dist.training import build
from cofi_dist.run.directory import RunDirectory
from cofi_dist.cli.main import main
from cofi_dist.optim.adam import Adam

def fail(*_, **__):
    raise MemoryError("so much")

def stop(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)

kind = sys.argv.pop(1)
if kind == "step":
    Adam.prepare_step = fail
elif kind == "cost":
    build.build_cost = fail
else:
    before = RunDirectory.begin
    RunDirectory.begin = lambda run: (before(run), stop())
main()
"""


@pytest.mark.parametrize(("kind", "code"), [("step", 1), ("cost", 1), ("begin", 75)])
def test_whatever_ends_a_run_before_its_first_step_takes_it_back(kind: str, code: int, here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, kind, *TRAIN],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in SIGNALS],
    )
    assert done.returncode == code, done.stderr
    if code == 1:
        assert done.stderr.splitlines()[-1] == "cofi-dist: there is not enough memory: so much"
    assert "Traceback" not in done.stderr
    assert not (here / "run").exists()


def test_a_run_that_took_a_step_stays(here: Path) -> None:
    code = BROKEN.replace("if kind ==", "kind = ''\nAdam.row_tensors = fail\nif kind ==")
    code = code.replace("before(run), stop()", "before(run)")
    done = subprocess.run(
        [sys.executable, "-c", code, "", *TRAIN, "checkpoint.every=1"],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (here / "run" / ".cofi_dist").exists()


# torch goes on without numpy if numpy can't be imported, for whatever reason; then what needs it fails
SWALLOWED = """
import os, signal
from contextlib import suppress
from cofi_dist.cli.main import main
from cofi_dist import config

def load(*_):
    with suppress(BaseException):
        os.kill(os.getpid(), signal.SIGTERM)
    raise AttributeError("module 'numpy' has no attribute 'void'")

config.load_config = load
import sys
sys.argv[1:] = ["config", "tiny.yaml"]
main()
"""


def test_what_fails_after_a_library_has_swallowed_a_signal_is_no_bug(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWED],
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in SIGNALS],
    )
    assert (done.returncode, done.stderr) == (143, "cofi-dist: terminated\n")
