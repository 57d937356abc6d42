"""A picture shows what is known of the runs, and is left out without data."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cofi_dist.report import plot
from cofi_dist.report.panels import Panel, build_panels, run_style
from cofi_dist.report.run_files import read_runs
from tests.support.written_runs import (
    EVENTS_CONFIG,
    falling,
    found_by_popularity,
    popularity_errors,
    rising,
    row,
    write_run,
)


def kinds(found: Sequence[Panel]) -> list[str]:
    return [panel.title.partition(":")[0] for panel in found]


def test_a_picture_without_data_is_left_out(tmp_path: Path) -> None:
    (bare,) = read_runs([write_run(tmp_path / "a", falling(validated=False))])
    assert kinds(build_panels([bare], [None])) == ["Cost", "Throughput"]
    (full,) = read_runs([write_run(tmp_path / "b", ranks=[60, 40])])
    assert kinds(build_panels([full], [popularity_errors(9)])) == [
        *("Cost", "Validation RMSE", "Validation MAE", "Throughput"),
        *("Balance", "RMSE by popularity of the item, on test ratings"),
    ]
    nothing = read_runs([write_run(tmp_path / "c", [row(1, float("nan")) | {"seconds": 0.0}])])
    assert build_panels(nothing, [None]) == []


def test_titles_of_one_run_say_what_matters(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "a", ranks=[60, 40])])
    titles = [panel.title for panel in build_panels([run], [popularity_errors(10, part="train")])]
    assert titles == [
        "Cost: 180 at epoch 41",
        "Validation RMSE: 1.0000 at epoch 31",
        "Validation MAE: 0.8000 at epoch 31",
        "Throughput: 1.04k ratings/s over all",
        "Balance: the fullest rank has 1.20 of the mean",
        "RMSE by popularity of the item, on training ratings, as none were held out: 0.9000 over all",
    ]


def test_a_run_of_events_shows_the_figure_of_its_lists(tmp_path: Path) -> None:
    (run,) = read_runs([write_run(tmp_path / "a", rising(), config=EVENTS_CONFIG)])
    panels = build_panels([run], [found_by_popularity(0, 30, 90)])
    assert [panel.title for panel in panels] == [
        "Cost: 180 at epoch 5",
        "Validation NDCG@20: 0.3500 at epoch 4",
        "Throughput: 1.01k events/s over all",
        "Found in lists of 10 by popularity of the item, on test events: 0.3333 over all",
    ]
    assert "The ring marks the epoch with the highest NDCG@20." in panels[1].caption
    assert "lie outside" not in panels[1].caption


def test_runs_of_both_kinds_have_pictures_of_both(tmp_path: Path) -> None:
    runs = read_runs([write_run(tmp_path / "a"), write_run(tmp_path / "b", rising(), config=EVENTS_CONFIG)])
    found = build_panels(runs, [popularity_errors(9), found_by_popularity(9)])
    assert kinds(found) == [
        *("Cost", "Validation RMSE", "Validation MAE", "Validation NDCG@20", "Throughput"),
        "RMSE by popularity of the item, on test ratings",
        "Found in lists of 10 by popularity of the item, on test events",
    ]
    for panel in found:
        panel.draw(Figure().add_subplot())


def test_figures_of_different_lists_have_pictures_of_their_own(tmp_path: Path) -> None:
    lists = [{"validation_k": 3}, {"validation_k": 10}, {"validation_k": 10, "validation_users": 20}]
    runs = read_runs(
        [write_run(tmp_path / str(n), [line | more for line in rising()]) for n, more in enumerate(lists)]
    )
    assert kinds(build_panels(runs, [None] * 3)) == [
        *("Cost", "Validation NDCG@3", "Validation NDCG@10", "Validation NDCG@10 of about 20 users"),
        "Throughput",
    ]


def test_the_start_does_not_flatten_the_curve(tmp_path: Path) -> None:
    rows = [row(k, 9.0, validation_rmse=0.9 + 10 / k**2) for k in range(1, 100)]
    panel = build_panels(read_runs([write_run(tmp_path / "a", rows)]), [None])[1]
    axes = Figure().add_subplot()
    panel.draw(axes)
    low, high = axes.get_ylim()
    assert low < 0.902 < high < 1.2


def test_colours_and_dashes_tell_the_runs_apart() -> None:
    assert len({tuple(run_style(k).values()) for k in range(plot.MOST_IN_LEGEND)}) == plot.MOST_IN_LEGEND


def test_bins_name_the_ratings_judged_in_them() -> None:
    (panel,) = build_panels([], [popularity_errors(0, 5, 1200), None, popularity_errors(0, 5, 1300, 7)])[-1:]
    axes = Figure().add_subplot()
    panel.draw(axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1\n5", "2-3\n1.2k+", "4-7\n7+"]
