"""Golden runs: a change in numerics shows itself."""

import json

import pytest

from tools.golden import CASES, FILE, Figures, differences, key, run_all

KEPT: dict[str, dict[str, Figures]] = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def got(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Figures]:
    return run_all(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("kind", KEPT)
def test_the_costs_are_the_kept_ones_to_rounding(kind: str, got: dict[str, Figures]) -> None:
    assert {case: set(of) for case, of in got.items()} == {case: set(of) for case, of in KEPT[kind].items()}
    for case, named in KEPT[kind].items():
        # another processor rounds the factors otherwise, by their own type; J itself is summed in float64
        rtol = 1e-9 if "train.dtype=float64" in CASES[case] else 1e-5
        costs = [float.fromhex(cost) for cost in named["cost"]]
        assert [float.fromhex(cost) for cost in got[case]["cost"]] == pytest.approx(costs, rel=rtol), case


def test_the_figures_are_the_kept_ones_bit_for_bit(got: dict[str, Figures]) -> None:
    if key() not in KEPT:
        pytest.skip(f"compared to rounding only: no figures are kept of {key()}")
    assert differences(got, KEPT[key()]) == [], "python -m tools.golden shows them; see CONTRIBUTING.md"


def test_a_changed_bit_is_told() -> None:
    want = {"case": {"cost": [(1.0).hex(), (2.0).hex()], "X": ["ab"]}}
    got = {"case": {"cost": [(1.0).hex(), (2.0 + 2**-51).hex()], "X": ["ac"]}}
    assert differences(want, want) == []
    assert differences(got, want) == [
        "case: cost: first in epoch 2; by 2.2e-16 of it at most",
        "case: X: not the kept figures",
    ]


def test_a_figure_that_is_gone_or_new_is_told() -> None:
    figures = {"cost": [(1.0).hex()], "X": ["ab"]}
    want, got = {"old": figures, "case": figures}, {"case": {"cost": figures["cost"], "Y": ["ab"]}}
    assert differences(got, want) == [
        "old: cost: is no longer there",
        "old: X: is no longer there",
        "case: X: is no longer there",
        "case: Y: not the kept ones: there are none",
    ]
