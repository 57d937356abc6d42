"""The examples of docs/api.md run as they stand, one after the other."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cofi_dist.distributed.comm import SoloComm
from cofi_dist.run.train import train

PAGE = Path(__file__).parents[1] / "docs" / "api.md"


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("usearch")
    monkeypatch.chdir(tmp_path)
    cells = np.random.default_rng(0).choice(600, 300, replace=False)
    lines = [f"{cell // 30},{cell % 30},{1 + cell % 5}" for cell in cells]
    Path("ratings.csv").write_text("\n".join(["userId,movieId,rating", *lines]) + "\n")
    for name, feedback, how in (("mine", "explicit", "lr: 0.01"), ("clicks", "implicit", "optimizer: als")):
        Path(f"{name}.yaml").write_text(
            f"data: {{ratings: ratings.csv, feedback: {feedback}}}\n"
            f"train: {{epochs: 20, log_every: 20, {how}}}\n"
        )
        train(Path(f"{name}.yaml"), [], SoloComm())
    capsys.readouterr()
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 8
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert "20 users, 30 items" in printed
    assert "['id', 'mean', 'count', 'x']" in printed
    assert "the model has no user nobody" in printed
