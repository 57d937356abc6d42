"""Define the command `explore`, which serves a page to try one or two models on."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cofi_dist.cli.arguments import Titles
from cofi_dist.cli.completion import complete_run
from cofi_dist.cli.input_files import read_titles
from cofi_dist.cli.tables import warn_if_diverged
from cofi_dist.errors import ConfigError
from cofi_dist.streams import log_stderr
from cofi_dist.system.variables import set_default

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from cofi_dist.explore.server import Listening

MOST_MODELS = 2
Runs = Annotated[
    list[Path],
    typer.Argument(help="One or two runs, or their models.", show_default=False, autocompletion=complete_run),
]


def explore(
    run: Runs,
    titles: Titles = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Whom to serve; by default this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", help="0 for a free one.", min=0, max=65535)] = 8765,
) -> None:
    """Serve a web page to try one or two models on.

    Rate a few titles and see the lists change, with the reasons; look at similar items and at a user's
    history. The page needs no network. Ctrl-C ends it.
    """
    if len(run) > MOST_MODELS:
        raise ConfigError(f"the page shows one or two models side by side, not {len(run)}; leave some out")
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"explore needs {' and '.join(missing)}: pip install 'cofi-dist[explore]'")
    for variable in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
        # before numpy is imported: an answer takes less time than waking threads for it
        set_default(variable, "1")
    from cofi_dist.explore.server import listen, serve

    listening = listen(host, port)
    app = _build(run, titles, listening)
    if not listening.loopback:
        log_stderr(f"--host {host}: whoever reaches this machine sees the page and all users' ratings")
    print(listening.url, flush=True)
    log_stderr("Ctrl-C ends it")
    serve(app, listening)


def _build(runs: list[Path], titles: Path | None, listening: "Listening") -> "Starlette":
    """Load the models, and return what serves them."""
    from cofi_dist.explore.app import build_app
    from cofi_dist.explore.catalogue import Catalogue
    from cofi_dist.explore.explored import ExploredModel
    from cofi_dist.model import Model

    models = [Model.load(run) for run in runs]
    title_of: dict[str, str] = {}
    for model in models:
        warn_if_diverged(model)
    for column in {model.facts.columns.item for model in models}:
        title_of |= read_titles(titles, column)
    catalogue = Catalogue(models, title_of)
    if titles is not None and not any(catalogue.title(item) for item in models[0].items.raw.cast(str)):
        log_stderr(f"{titles}: has no title of any item; are its ids spelt as those of the ratings?")
    names = _names(runs)
    explored = [ExploredModel.open(name, model, catalogue) for name, model in zip(names, models, strict=True)]
    for each in explored:
        if each.why_not:
            log_stderr(f"{each.name}: no histories, as its ratings are not there: {each.why_not}")
    return build_app(explored, catalogue, names=listening.names, loopback=listening.loopback)


def _names(runs: list[Path]) -> list[str]:
    """Return what to call each run: its folder, or the path if the folders are called the same."""
    short = [run.absolute().name for run in runs]
    return short if len({*short}) == len(runs) else [str(run) for run in runs]
