"""Write what a page says of a model: its figures with intervals, and the lists of some users."""

from collections.abc import Mapping, Sequence

from cofi_dist.model import Evaluation
from cofi_dist.ranking.metrics import TITLES
from cofi_dist.report.judged_model import JudgedModel
from cofi_dist.report.markup import columns, escaped, lines
from cofi_dist.report.sample_lists import ListedItem, SampleLists, SampleUser
from cofi_dist.words import counted

ERRORS = {"rmse": "RMSE", "mae": "MAE", "rmse_by_user": "RMSE by user", "mae_by_user": "MAE by user"}
TILES = ("rmse", "mae", "ndcg", "recall", "hit_rate", "coverage")
MEANINGS = {
    "rmse": "over all ratings",
    "mae": "over all ratings",
    "rmse_by_user": "averaged over users",
    "mae_by_user": "averaged over users",
    "precision": "share of a list that was held out",
    "recall": "share of what was held out that lists find",
    "ndcg": "like recall, but the first places count more",
    "map": "precision at each find",
    "hit_rate": "share of users whose list finds something",
    "mrr": "1 / place of the first find",
    "popularity": "training ratings of a listed item",
    "coverage": "share of the items that are in any list",
    "gini": "0: all items are in equally many lists; 1: one is in all",
}


def _figures(found: Evaluation) -> dict[str, tuple[str, float, tuple[float, float] | None]]:
    """Return the figures that there are by name, each with its title and its interval."""
    errors = {name: (title, getattr(found, name), found.intervals) for name, title in ERRORS.items()}
    ranking = found.ranking
    if ranking is not None:
        titles = {**TITLES, "popularity": "popularity", "coverage": "coverage", "gini": "Gini"}
        errors |= {
            name: (title + f"@{ranking.k}" * (name in TITLES), getattr(ranking, name), ranking.intervals)
            for name, title in titles.items()
        }
    return {
        name: (title, value, intervals.get(name))
        for name, (title, value, intervals) in errors.items()
        if value is not None
    }


def tiles(judged: JudgedModel) -> str:
    """Return the most important figures, with their intervals."""
    found = {} if judged.evaluation is None else _figures(judged.evaluation)
    boxes = lines(
        f'<div><dt>{escaped(title)}</dt><dd class="value">{_digits(name, value)}</dd>'
        f'<dd class="faint">{_interval(name, interval) or "&nbsp;"}</dd></div>'
        for name, (title, value, interval) in found.items()
        if name in TILES
    )
    return f'<dl class="tiles">\n{boxes}\n</dl>' if boxes else ""


def figures_table(judged: JudgedModel) -> str:
    """Return all figures on the held-out part, with their intervals and what they mean."""
    found = judged.evaluation
    if found is None:
        return ""
    noun = judged.lists.noun
    caption = f"On {counted(found.ratings, f'{judged.lists.part} {noun}')} of {counted(found.users, 'user')}"
    if found.sample is not None:
        caption += f", a sample of about {found.sample:,}"
    rows = [
        (_explained(name, title, noun), _digits(name, value), _interval(name, limits))
        for name, (title, value, limits) in _figures(found).items()
    ]
    return columns(caption, ("figure", "value", "95 % interval"), rows, (1, 2))


def _explained(name: str, title: str, noun: str) -> str:
    meaning = MEANINGS[name].replace("rating", noun)
    return f'{escaped(title)} <span class="faint meaning">{escaped(meaning)}</span>'


def users_section(found: SampleLists) -> str:
    """Return the lists of some users beside what they rated, of which a screen shows one at a time."""
    held = f" What is marked is in the {found.part} part, which was not trained on." if found.part else ""
    text = f"Users with few and with many training {found.noun}s. Lists leave out what was trained on.{held}"
    choices = lines(
        f'<input type="radio" name="user" id="user-{k}"{" checked" * (k == len(found.users) // 2)}>'
        f'<label for="user-{k}">user {escaped(user.user)}: {counted(user.num_ratings, found.noun)}</label>'
        for k, user in enumerate(found.users)
    )
    both = lines(_user(k, user, found) for k, user in enumerate(found.users))
    return f'<fieldset class="users"><legend>{escaped(text)}</legend>\n{choices}\n{both}\n</fieldset>'


def _user(number: int, user: SampleUser, found: SampleLists) -> str:
    is_event = found.noun == "event"
    hits = sum(item.held_out is not None for item in user.listed)
    of = f"; the list finds {hits:,} of {user.num_held_out:,} held out" if found.part else ""
    given = {"strength" if is_event else "rated": [f"{item.figure:g}" for item in user.history]}
    what = "strongest events" if is_event else "highest ratings"
    return (
        f'<article class="user" id="list-{number}"><h3>User {escaped(user.user)}:'
        f" {counted(user.num_ratings, f'training {found.noun}')}{of}</h3>\n"
        f"{_items(f'Their {what}', given, user.history, found)}\n{_list(user, found)}\n</article>"
    )


def _list(user: SampleUser, found: SampleLists) -> str:
    """Return the table of a user's list; if predictions are clipped, with the scores that order it."""
    digits = 3 if found.noun == "event" else 2
    shown = [f"{item.figure:.{digits}f}" for item in user.listed]
    scores = [f"{item.score:.{digits}f}" for item in user.listed]
    if shown != scores:
        caption = "Their list; the score is the prediction before clipping"
        return _items(caption, {"predicted": shown, "score": scores}, user.listed, found)
    return _items(
        "Their list", {"score" if found.noun == "event" else "predicted": shown}, user.listed, found
    )


def _items(
    caption: str, figures: Mapping[str, Sequence[str]], items: Sequence[ListedItem], found: SampleLists
) -> str:
    """Return a table of items, with columns of figures before their names."""
    names, counts = [_name(item, found) for item in items], [f"{item.ratings:,}" for item in items]
    rows = zip(*figures.values(), names, counts, strict=True)
    numbers = (*range(len(figures)), len(figures) + 1)
    return columns(caption, (*figures, "item", f"its {found.noun}s"), rows, numbers)


def _name(item: ListedItem, found: SampleLists) -> str:
    """Return an item's title and id, and, if the held-out part has it, what the user gave it there."""
    raw = escaped(item.item)
    name = f'{escaped(item.title)} <span class="faint">{raw}</span>' if item.title else raw
    if item.held_out is None:
        return name
    given = "held out" if found.noun == "event" else f"held out: {item.held_out:g}"
    return f'{name} <span class="found">\u2713 {given}</span>'


def _digits(name: str, value: float) -> str:
    return f"{value:,.1f}" if name == "popularity" else f"{value:.4f}"


def _interval(name: str, interval: tuple[float, float] | None) -> str:
    return "" if interval is None else " to ".join(_digits(name, limit) for limit in interval)
