"""Define what the page may ask, with the bounds of each question."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cofi_dist.errors import DataError

MOST_RATINGS = 500  # of one person
LONGEST_LIST = 100
MOST_NEIGHBOURS = 60

RawId = Annotated[str, Field(min_length=1, max_length=200)]
Length = Annotated[int, Field(ge=1, le=LONGEST_LIST)]
LeastRatings = Annotated[int, Field(ge=0, le=2**53)]
Place = Annotated[int, Field(ge=0, le=1)]  # of a model among those that are shown


class Question(BaseModel):
    """Refuse what is unknown, so that a misspelt name is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuestion(Question):
    """Ask nothing in particular."""


class Search(Question):
    """Ask for items by words of their titles, or for users by the beginning of their ids."""

    q: Annotated[str, Field(max_length=200)] = ""
    limit: Length = 10


class UserSearch(Search):
    """Ask for users by the beginning of their ids."""

    model: Place = 0


class Rating(Question):
    """Hold a rating, or an event and its strength, which is 1 if it is not given."""

    item: RawId
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None


class ForSomebody(Question):
    """Name a user of the model, or give the ratings of somebody who is not in the data."""

    model: Place = 0
    user: RawId | None = None
    ratings: Annotated[list[Rating], Field(min_length=1, max_length=MOST_RATINGS)] | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.user is None) == (self.ratings is None):
            raise ValueError("give one of user and ratings")
        return self


class Recommend(ForSomebody):
    """Ask for the best items of somebody."""

    k: Length = 10
    min_ratings: LeastRatings = 0


class Explain(ForSomebody):
    """Ask which ratings give an item its score."""

    item: RawId
    k: Length = 10


class Similar(Question):
    """Ask for the items that are most like one."""

    item: RawId
    model: Place = 0
    k: Length = 10
    min_ratings: LeastRatings = 1


class Neighbours(Similar):
    """Ask for a map of an item and those that are most like it."""

    k: Annotated[int, Field(ge=1, le=MOST_NEIGHBOURS)] = 30


class History(Question):
    """Ask for what a user of the model has rated."""

    user: RawId
    model: Place = 0
    k: Length = LONGEST_LIST


def describe(error: ValidationError) -> DataError:
    """Return what is wrong with a question, in one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return DataError(f"{where}: {said}"[:500] if where else said[:500])
