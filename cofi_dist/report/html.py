"""Write a page about one run that needs no network, no script and no other file."""

import base64
import platform
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.metadata import version

from cofi_dist.report.panels import Panel
from cofi_dist.report.plot import WRITER, draw_panel
from cofi_dist.report.popularity import ByPopularity, bin_name
from cofi_dist.report.run_files import RunFiles
from cofi_dist.report.saved_evaluations import SavedEvaluation
from cofi_dist.run_layout import CONFIG, LOG, MODEL
from cofi_dist.version import __version__
from cofi_dist.words import counted

# A browser may load nothing but what is in the page.
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

CSS = """
:root { color-scheme: light }
body { max-width: 66rem; margin: 0 auto; padding: 1rem; color: #1a1a1a; background: #fff;
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin-top: 2rem }
h3 { font-size: 1rem; margin: 0 } caption { font-weight: 600 }
table { border-collapse: collapse }
th, td { padding: .25rem 1rem .25rem 0; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top;
  overflow-wrap: normal }
th { font-weight: 600 } .figures td { text-align: right; font-variant-numeric: tabular-nums }
.tables, .pictures { display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)) }
.pictures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)) }
.wide { grid-column: 1 / -1 }
figure { margin: 0; break-inside: avoid } img { width: 100%; height: auto } .wide img { max-width: 46rem }
figcaption { font-size: .9rem } caption { text-align: left; padding-bottom: .25rem }
pre { padding: .75rem; background: #f5f5f5; font-size: .8rem; line-height: 1.4; white-space: pre-wrap }
footer { margin-top: 2rem; color: #555; font-size: .85rem }
@media print { body { padding: 0; font-size: .75rem } pre { background: none; border: 1px solid #ddd }
  h2, h3 { break-after: avoid } .pictures, .tables { grid-template-columns: 1fr 1fr; gap: .5rem 1.5rem } }
"""


def render_page(
    run: RunFiles,
    panels: Sequence[Panel],
    by_popularity: ByPopularity | None,
    evaluated: Sequence[SavedEvaluation],
) -> str:
    """Return the page in HTML.

    Args:
        run: the run that the page is about.
        panels: the pictures, which are drawn here.
        by_popularity: figures by popularity of the item; None if unknown.
        evaluated: the evaluations in the run directory.
    """
    body = [
        f"<h1>{_escaped(run.name)}</h1>",
        _section("Summary", [_table(_summary(run))]),
        _section("Accuracy and lists", [_tables(_accuracy_tables(by_popularity, evaluated))]),
        _section(
            "Pictures", [f'<div class="pictures">{_lines(map(_picture, panels))}</div>'] if panels else []
        ),
        _section(f"Notes, as in {LOG}", [f"<pre>{_escaped(chr(10).join(run.log))}</pre>"] if run.log else []),
        _section(
            f"Resolved config, as in {CONFIG}", [f"<pre>{_escaped(run.config)}</pre>"] if run.config else []
        ),
        f"<footer>{_escaped(_versions())}</footer>",
    ]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="generator" content="{WRITER}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">
<title>{_escaped(run.name)}: a training run</title>
<style>{CSS}</style>
</head>
<body>
<main>
{_lines(filter(None, body))}
</main>
</body>
</html>
"""


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
    facts[f"{run.noun}s per second"] = f"{metrics.ratings_per_second[-1]:,.0f}"
    if run.diverged:
        facts["diverged"] = run.diverged
    if not (run.directory / MODEL).is_dir():
        facts["model"] = "none: the run is still going, or was interrupted"
    return facts


def _accuracy_tables(
    by_popularity: ByPopularity | None, evaluated: Sequence[SavedEvaluation]
) -> dict[str, dict[str, str]]:
    """Return tables of errors and ranking metrics, by caption."""
    tables = {}
    for saved in evaluated:
        older = ", older than the model: of an earlier one?" if saved.outdated else ""
        tables[f"{saved.name}, by evaluate{older}"] = saved.figures
    if by_popularity is not None:
        found, nouns = by_popularity, f"{by_popularity.noun}s"
        held = "none were held out" if found.part == "train" else "held out"
        part = "training" if found.part == "train" else found.part
        tables[f"{part} {nouns}, {held}"] = {
            nouns: f"{found.count.sum():,}",
            **{name: f"{figure:.4f}" for name, figure in found.figures.items()},
        }
        rows = enumerate(zip(found.count, found.by_bin, strict=True))
        tables[f"{found.title} on {part} {nouns}, by training {nouns} of the item"] = {
            bin_name(number): f"{figure:.4f} over {count:,}" for number, (count, figure) in rows if count
        }
    return tables


def _picture(panel: Panel) -> str:
    data = base64.b64encode(draw_panel(panel)).decode()
    kind = ' class="wide"' if panel.wide else ""
    return (
        f"<figure{kind}><h3>{_escaped(panel.title)}</h3>\n"
        f'<img src="data:image/png;base64,{data}" alt="{_escaped(panel.title)}">\n'
        f"<figcaption>{_escaped(panel.caption)}</figcaption></figure>"
    )


def _tables(tables: Mapping[str, Mapping[str, str]]) -> str:
    if not tables:
        return ""
    inner = _lines(_table(rows, caption, ' class="figures"') for caption, rows in tables.items())
    return f'<div class="tables">{inner}</div>'


def _table(rows: Mapping[str, str], caption: str = "", attributes: str = "") -> str:
    head = f"<caption>{_escaped(caption)}</caption>" if caption else ""
    body = _lines(
        f'<tr><th scope="row">{_escaped(name)}</th><td>{_escaped(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<table{attributes}>{head}<tbody>\n{body}\n</tbody></table>"


def _section(title: str, parts: Iterable[str]) -> str:
    """Return a section, or nothing if it has no content."""
    body = _lines(filter(None, parts))
    return f"<section>\n<h2>{_escaped(title)}</h2>\n{body}\n</section>" if body else ""


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _escaped(text: str) -> str:
    """Escape text so that nothing in it is markup; a character that cannot be printed becomes a box."""
    return escape(
        "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)
    )


def _versions() -> str:
    parts = [f"{name} {version(name)}" for name in ("torch", "numpy", "polars", "matplotlib")]
    return f"Written by cofi-dist {__version__}, Python {platform.python_version()}, {', '.join(parts)}."
