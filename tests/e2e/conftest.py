"""Directories to work in: with a config that trains in no time, and with runs that were trained."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import CONFIG, cofi

TINY = """
data: {synthetic: {num_users: 30, num_items: 40, num_ratings: 300}}
model: {num_features: 4}
train: {epochs: 20, log_every: 10, lr: 0.01}
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a trained run of 30 users and 40 items, and files to use it on."""
    home = tmp_path_factory.mktemp("using")
    rng = np.random.default_rng(0)
    cells = rng.choice(1200, 400, replace=False)
    rows = [f"{1 + cell // 40},{1000 + cell % 40},{rng.integers(1, 11) / 2}" for cell in cells]
    (home / "r.csv").write_text("\n".join(["userId,movieId,rating", *rows]) + "\n")
    (home / "c.yaml").write_text(CONFIG)
    (home / "plain.yaml").write_text(CONFIG.replace(", test: {fraction: 0.2}", ""))
    named = (home / "r.csv").read_text().replace("userId,movieId,rating", "who,what,stars", 1)
    (home / "named.csv").write_text(named)
    ready = ["prepare", "named.csv", "--output", "ready", "data.test={}"]
    assert cofi(*ready, "data.columns={user: who, item: what, rating: stars}", cwd=home).returncode == 0
    (home / "named.yaml").write_text(
        CONFIG.replace("ratings: r.csv, test: {fraction: 0.2}", "prepared: ready")
    )
    for config in ("c.yaml", "plain.yaml", "named.yaml"):
        assert cofi("train", "--config", config, cwd=home).returncode == 0
    (home / "pairs.csv").write_text("userId,movieId\n1,1000\n2,1001\n99,1000\n1,7\n99,7\n")
    (home / "mine.csv").write_text("movieId,rating\n1000,5\n1001,0.5\n7,3\n")
    titles = [f'{item},"Film, the {item} {"long " * 20}",Drama' for item in range(1000, 1039)]
    (home / "movies.csv").write_text("\n".join(["movieId,title,genres", *titles]) + "\n")
    return home
