"""Write a page about one run that needs no network, no script and no other file."""

import math
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from cofi_dist.report.judged_model import JudgedModel
from cofi_dist.report.markup import escaped, lines, named_values, section
from cofi_dist.report.model_panels import calibration_panel, exposure_panel
from cofi_dist.report.model_sections import figures_table, tiles, users_section
from cofi_dist.report.panels import Panel
from cofi_dist.report.plot import WRITER, draw_panel
from cofi_dist.report.popularity import ByPopularity, ErrorByPopularity, bin_name
from cofi_dist.report.run_files import RunFiles
from cofi_dist.report.saved_evaluations import SavedEvaluation
from cofi_dist.report.style import CSS, one_user_at_a_time
from cofi_dist.run_layout import CONFIG, LOG, MODEL
from cofi_dist.version import __version__
from cofi_dist.words import counted

# A browser may load and run nothing; styles are in the page.
CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_page(
    run: RunFiles,
    panels: Sequence[Panel],
    by_popularity: ByPopularity | None,
    evaluated: Sequence[SavedEvaluation],
    judged: JudgedModel | None = None,
) -> str:
    """Return the page in HTML.

    Args:
        run: the run that the page is about.
        panels: the pictures, which are drawn here.
        by_popularity: figures by popularity of the item; None if unknown.
        evaluated: the evaluations in the run directory.
        judged: what was measured of the model for this page; None if it or its ratings are gone.
    """
    training = [panel for panel in panels if not panel.wide]
    of_model = [panel for panel in panels if panel.wide] + _model_panels(by_popularity, judged)
    users = () if judged is None else judged.lists.users
    is_evaluated = judged is not None and judged.evaluation is not None
    tables = _accuracy_tables(by_popularity, evaluated, with_totals=not is_evaluated)
    accuracy = [_pictures(of_model), _tables(tables)]
    body = [
        _header(run),
        "" if judged is None else tiles(judged),
        section("Summary", [named_values(_summary(run))]),
        section("Training", [_pictures(training)]),
        section("Accuracy and lists", ["" if judged is None else figures_table(judged), *accuracy]),
        section("Lists of some users", [users_section(judged.lists) if judged and users else ""]),
        section(f"Notes, as in {LOG}", [_text("\n".join(run.log), "notes")]),
        section(f"Resolved config, as in {CONFIG}", [_text(run.config, "config")]),
        f"<footer>{escaped(_versions())}</footer>",
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{WRITER}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">
<title>{escaped(run.name)}: a training run</title>
<style>{CSS}{one_user_at_a_time(len(users))}</style>
</head>
<body>
<main>
{lines(filter(None, body))}
</main>
</body>
</html>
"""


def _header(run: RunFiles) -> str:
    text = f"A training run on {run.noun}s."  # what is known of its model, the sections say
    return f'<header><h1>{escaped(run.name)}</h1>\n<p class="faint">{text}</p></header>'


def _model_panels(by_popularity: ByPopularity | None, judged: JudgedModel | None) -> list[Panel]:
    """Return the pictures of the model that only a page has."""
    found = []
    if isinstance(by_popularity, ErrorByPopularity) and by_popularity.calibration is not None:
        part = "training" if by_popularity.part == "train" else by_popularity.part
        found.append(calibration_panel(by_popularity.calibration, part))
    if judged is not None:
        found.append(exposure_panel(judged.lists))
    return found


def _summary(run: RunFiles) -> dict[str, str]:
    """Return what is known about the run and its outcome, by name."""
    metrics, shards = run.metrics, run.shards
    facts = {"directory": str(run.directory.resolve())}
    if shards is not None:
        facts[f"{run.noun}s"] = f"{shards.ratings.sum():,}, including held-out ones"
        facts["users"] = f"{shards.num_users:,}"
    if run.num_items is not None:
        facts["items"] = f"{run.num_items:,}"
    if shards is not None:
        facts["world size"] = str(len(shards.ratings))
        facts["device"] = f"{shards.device}, backend {shards.backend}"
    facts["last printed epoch"] = f"{metrics.epoch[-1]:,.0f}"
    facts["cost then"] = f"{metrics.cost[-1]:,.8g}"
    if metrics.best is not None:
        figures = ", ".join(
            f"{metrics.criterion.title(name)} {values[metrics.best]:.4f}"
            for name, values in metrics.validation.items()
        )
        users = metrics.criterion.users
        sample = "" if users is None else f", of about {counted(users, 'user')}"
        facts["best validated epoch"] = f"{metrics.epoch[metrics.best]:,.0f}: {figures}{sample}"
    facts["seconds"] = f"{metrics.seconds[-1]:,.1f}"
    if math.isfinite(metrics.mean_speed):
        facts[f"{run.noun}s per second"] = f"{metrics.mean_speed:,.0f}"
    if run.diverged:
        facts["diverged"] = run.diverged
    if run.pruned:
        facts["pruned"] = f"by a search, {run.pruned}"
    if not (run.directory / MODEL).is_dir():
        facts["model"] = "none: the run is still going, or was interrupted"
    return facts


def _accuracy_tables(
    by_popularity: ByPopularity | None, evaluated: Sequence[SavedEvaluation], *, with_totals: bool
) -> dict[str, dict[str, str]]:
    """Return tables of errors and ranking metrics, by caption."""
    tables = {}
    for saved in evaluated:
        older = ", older than the model: of an earlier one?" if saved.outdated else ""
        tables[f"{saved.name}, by evaluate{older}"] = saved.figures
    if by_popularity is not None:
        found, nouns = by_popularity, f"{by_popularity.noun}s"
        part = "training" if found.part == "train" else found.part
        if with_totals:
            held = "none were held out" if found.part == "train" else "held out"
            tables[f"{part} {nouns}, {held}"] = {
                nouns: f"{found.count.sum():,}",
                **{name: f"{figure:.4f}" for name, figure in found.figures.items()},
            }
        rows = enumerate(zip(found.count, found.by_bin, strict=True))
        tables[f"{found.title} on {part} {nouns}, by training {nouns} of the item"] = {
            bin_name(number): f"{figure:.4f} over {count:,}" for number, (count, figure) in rows if count
        }
    return tables


def _pictures(panels: Sequence[Panel]) -> str:
    if not panels:
        return ""
    return f'<div class="pictures">{lines(map(_picture, panels))}</div>'


def _picture(panel: Panel) -> str:
    kind = ' class="wide"' if panel.wide else ""
    return (
        f"<figure{kind}><h3>{escaped(panel.title)}</h3>\n{draw_panel(panel)}\n"
        f"<figcaption>{escaped(panel.caption)}</figcaption></figure>"
    )


def _tables(tables: Mapping[str, Mapping[str, str]]) -> str:
    if not tables:
        return ""
    inner = lines(named_values(rows, caption, ' class="figures"') for caption, rows in tables.items())
    return f'<div class="tables">{inner}</div>'


def _text(text: str, name: str) -> str:
    """Return text as it stands; a keyboard can scroll it."""
    return f'<pre tabindex="0" role="region" aria-label="{name}">{escaped(text)}</pre>' if text else ""


def _versions() -> str:
    parts = [f"{name} {version(name)}" for name in ("torch", "numpy", "polars", "matplotlib")]
    return f"Written by cofi-dist {__version__}, Python {platform.python_version()}, {', '.join(parts)}."
