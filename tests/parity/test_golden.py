"""Golden runs: a change in numerics shows itself."""

import json
from pathlib import Path

import pytest

from tests.golden import FILE, differences, key, run_all


def test_the_figures_are_the_kept_ones(tmp_path: Path) -> None:
    """Bit for bit on a kind of machine that figures were kept of; elsewhere to rounding."""
    kept, got = json.loads(FILE.read_text()), run_all(tmp_path)
    if key() in kept:
        assert differences(got, kept[key()]) == [], "python -m tests.golden shows them; see CONTRIBUTING.md"
        return
    for figures in kept.values():
        for case, named in figures.items():
            rtol = 1e-9 if "64" in case or case == "notebook" else 1e-5
            costs = [float.fromhex(cost) for cost in named["cost"]]
            assert [float.fromhex(cost) for cost in got[case]["cost"]] == pytest.approx(costs, rel=rtol), case


def test_a_changed_bit_is_told() -> None:
    want = {"case": {"cost": [(1.0).hex(), (2.0).hex()], "X": ["ab"]}}
    got = {"case": {"cost": [(1.0).hex(), (2.0 + 2**-51).hex()], "X": ["ac"]}}
    assert differences(want, want) == []
    assert differences(got, want) == [
        "case: cost: first in epoch 2; by 2.2e-16 of it at most",
        "case: X: not the kept figures",
    ]
