"""The complete checkpoints of a run are listed, and what is wrong with the others is said."""

from pathlib import Path

import pytest

from cofi_dist.errors import RunError
from cofi_dist.report.checkpoint_list import verified_checkpoints
from tests.support.runs import run


def test_complete_checkpoints_are_listed_newest_first_and_damaged_ones_named(tmp_path: Path) -> None:
    run_dir = run(tmp_path, 1, 20, "run")
    complete, faults = verified_checkpoints(run_dir)
    assert [each.epoch for each in complete] == sorted((each.epoch for each in complete), reverse=True)
    assert len(complete) > 1
    assert {each.world_size for each in complete} == {1}
    assert faults == []
    damaged = run_dir / "checkpoints" / complete[0].name
    part = next(damaged.glob("*.safetensors"))
    assert 0 < part.stat().st_size <= complete[0].bytes
    part.write_bytes(part.read_bytes()[:-1])
    remaining, faults = verified_checkpoints(run_dir)
    assert remaining == complete[1:]
    assert [str(part) in fault for fault in faults] == [True]


def test_another_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not the directory of a run"):
        verified_checkpoints(tmp_path)
