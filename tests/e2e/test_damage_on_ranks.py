"""What is damaged in one rank's part of the ratings ends all ranks, soon, and is said once."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import TORCHRUN, cofi
from tools.damage.world import PREPARED, call


@pytest.mark.timeout(200)
def test_every_rank_leaves_where_one_finds_its_part_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = ((user, item) for user in range(30) for item in range(user % 5, 25))
    rows = [f"{user},{item},{(user + item) % 9 / 2 + 0.5}" for user, item in pairs]
    Path("r.csv").write_text("\n".join(["userId,movieId,rating", *rows]) + "\n")
    Path("p.yaml").write_text(PREPARED)
    call("prepare", "r.csv", "--output", "ready", "data.test={fraction: 0.2}", "data.validation={}")
    call("train", "--config", "p.yaml", "run_dir=run")
    item = np.load("ready/train_item.npy", mmap_mode="r+")
    item[-1] = 10**6  # of the last user, whom the last rank has
    item.flush()
    done = cofi("evaluate", "run", cwd=tmp_path, launcher=TORCHRUN)
    assert done.returncode == 1, done.stderr
    assert "ready/train_item.npy: holds the item 1000000; there are 25, from 0" in done.stderr
    assert "cofi_dist/" not in done.stderr, "a traceback of ours, beside torchrun's own"
