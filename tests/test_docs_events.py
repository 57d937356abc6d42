"""The configs of events in docs/training.md and docs/choosing.md train as they stand, but for their sizes."""

import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from cofi_dist.config import load_config
from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.train import train
from cofi_dist.run_result import read_result

ROOT = Path(__file__).parents[1]
PAGES = ["docs/training.md", "docs/choosing.md"]


def configs_of_events(page: str) -> list[str]:
    """Return the indented blocks of a page that set `feedback: implicit`."""
    text = (ROOT / page).read_text()
    blocks = re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE)
    return [dedent(block) for block in blocks if "feedback: implicit" in block]


@pytest.mark.parametrize("page", PAGES)
def test_the_config_of_events_trains(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (config,) = configs_of_events(page)
    Path("plays.yaml").write_text(config)
    names = load_config(Path("plays.yaml")).data.columns
    cells = np.random.default_rng(0).choice(600, 300, replace=False)
    lines = [f"{cell // 30},{cell % 30},{1 + cell % 5}" for cell in cells]
    Path("plays.csv").write_text("\n".join([f"{names.user},{names.item},{names.rating}", *lines]) + "\n")
    run = train(Path("plays.yaml"), ["train.epochs=3", "model.num_features=4"], SoloComm())
    result = read_result(run)
    assert result is not None
    assert 0 < (result.validation("ndcg") or 0.0) < 1
