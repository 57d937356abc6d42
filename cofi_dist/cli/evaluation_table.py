"""Print the figures of an evaluation."""

from typing import TYPE_CHECKING

from cofi_dist.streams import Style, print_styled
from cofi_dist.words import counted, have

if TYPE_CHECKING:
    from cofi_dist.model import Evaluation, Ranking
    from cofi_dist.ranking.bootstrap import Interval

LABEL, FIGURE, INTERVAL = 12, 12, 22
BY_USER = 10  # widths of the columns


def print_evaluation(
    found: "Evaluation", name: str, fallbacks: tuple[str, str], *, is_implicit: bool
) -> None:
    """Print what was judged, the errors of a model of ratings, and the figures of the lists.

    Args:
        found: the figures.
        name: of the ratings that the model was judged by.
        fallbacks: of what predictions for an unknown user, and for an unknown item, consist.
        is_implicit: whether the model learnt from events.
    """
    rating = "event" if is_implicit else "rating"
    _print_counts(found, name, fallbacks, rating)
    if not is_implicit:
        _print_errors(found)
    if found.ranking is not None:
        _print_ranking(found.ranking, is_implicit=is_implicit)
    if found.intervals or (found.ranking and found.ranking.intervals):
        print("\nIn brackets: 95 % intervals, by 1,000 bootstrap samples of the users")


def _print_counts(found: "Evaluation", name: str, fallbacks: tuple[str, str], rating: str) -> None:
    judged = f"{counted(found.ratings, rating)} by {counted(found.users, 'user')}"
    print_styled((judged, Style.heading), (f": {name}", Style.plain))
    if found.sample is not None:
        print(f"  of a sample of about {counted(found.sample, 'user')}, always the same ones")
    unseen, trained = found.unseen_ratings, found.ratings_seen_in_training
    if unseen:
        predicted, score = ("; predicted", "") if rating == "rating" else ("", "score ")
        print(f"  {unseen:,} of them {have(unseen)} a user or an item without training {rating}s{predicted}:")
        sides = ("user", found.unseen_users), ("item", found.unseen_items)
        for (noun, number), fallback in zip(sides, fallbacks, strict=True):
            if number:
                print(f"    {counted(number, noun)}: {score}{fallback}")
        print("  and not ranked where the model does not know the id at all")
    if trained:
        print(f"  {trained:,} of them {'was' if trained == 1 else 'were'} trained on, too; not ranked")


def _print_errors(found: "Evaluation") -> None:
    heads = f"{'':{LABEL}}{'all ratings':>{FIGURE}}{'':{INTERVAL}}{'by user':>{BY_USER}}"
    print_styled(("\n", Style.plain), (heads, Style.heading))
    for name in ("rmse", "mae"):
        parts = [(f"{name.upper():{LABEL}}", Style.plain)]
        for key, width in ((name, FIGURE), (f"{name}_by_user", BY_USER)):
            parts.append((_figure(getattr(found, key), width), Style.plain))
            parts.append((_interval(found.intervals.get(key)), Style.faint))
        _print_parts(*parts)


def _print_ranking(ranking: "Ranking", *, is_implicit: bool) -> None:
    from cofi_dist.ranking.metrics import TITLES

    relevant = ""
    if ranking.relevant is not None:
        relevant = f" {'of strength' if is_implicit else 'rated'} {ranking.relevant:g} or more"
    without = ranking.users_without_relevant
    print_styled(
        (f"\nRanking of {counted(ranking.users, 'user')} at k = {ranking.k}", Style.heading),
        (f"; {without:,} {have(without)} no item{relevant} to find", Style.plain),
    )
    for key, title in TITLES.items():
        _print_line(title, _figure(getattr(ranking, key)), ranking.intervals.get(key))
    if ranking.popularity is None:
        return
    _print_line(
        "popularity",
        f"{ranking.popularity:{FIGURE}.1f}",
        ranking.intervals.get("popularity"),
        f"training {'events' if is_implicit else 'ratings'} of an item",
        digits=1,
    )
    _print_line("coverage", _figure(ranking.coverage), None, "share of items in any list")
    _print_line("Gini", _figure(ranking.gini), None, "0: all in equally many lists")


def _print_line(
    title: str, figure: str, interval: "Interval | None", note: str = "", *, digits: int = 4
) -> None:
    _print_parts(
        (f"{title:{LABEL}}{figure}", Style.plain),
        (_interval(interval, digits), Style.faint),
        (f"  {note}", Style.faint),
    )


def _print_parts(*parts: tuple[str, Style]) -> None:
    """Print parts of a line, without the spaces at its end."""
    while len(parts) > 1 and not parts[-1][0].strip():
        parts = parts[:-1]
    *before, (text, style) = parts
    print_styled(*before, (text.rstrip(), style))


def _figure(figure: float | None, width: int = FIGURE) -> str:
    return f"{'-' if figure is None else f'{figure:.4f}':>{width}}"


def _interval(interval: "Interval | None", digits: int = 4) -> str:
    text = ""
    if interval is not None:
        low, high = interval
        text = f"  ({low:.{digits}f} to {high:.{digits}f})"
    return f"{text:{INTERVAL}}"
