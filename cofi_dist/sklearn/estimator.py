"""Predict ratings by matrix factorisation, as an estimator that scikit-learn knows."""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d

from cofi_dist.errors import ConfigError, DataError
from cofi_dist.files.reading import shortened
from cofi_dist.fitting.fit import fit as fit_model
from cofi_dist.model import Model
from cofi_dist.sklearn.pairs import InputError, check_columns, input_errors, read_numbers, read_pairs

# The keys of the config that are parameters of the estimator.
PARAMETERS = {
    "data": ("centre", "duplicates"),
    "model": ("num_features", "item_bias", "user_bias"),
    "train": ("optimizer", "epochs", "lr", "lambda_", "lambda_power", "lambda_b", "dtype"),
    "validation": (),
}
# What the estimator decides itself, and why `settings` may not.
DECIDED = {
    ("data", "columns"): "the estimator names the columns itself; leave it out",
    ("data", "feedback"): "the estimator learns from ratings; for events, take cofi_dist.fit",
}


class MatrixFactorization(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predict the ratings of pairs of a user and an item, as an estimator that scikit-learn knows.

    The parameters are keys of the config, with their defaults (docs/config.md), and are checked by `fit`.
    Only the default of `optimizer` is another: `als`, which needs seconds.

    Args:
        num_features: of `model`: K, the number of features of every user and item.
        item_bias: of `model`: also learn a bias per item.
        user_bias: of `model`: learn a bias per user.
        centre: of `data`: what is subtracted from the ratings before training.
        duplicates: of `data`: what is done if a pair is there twice.
        optimizer: of `train`: ALS or Adam.
        epochs: of `train`. With None, ALS runs up to 100 sweeps, and Adam 15,000 steps.
        lr: of `train`: learning rate of Adam.
        lambda_: of `train`: regularisation of the features.
        lambda_power: of `train`: how it grows with a row's number of ratings.
        lambda_b: of `train`: regularisation of the biases.
        dtype: of `train`: type of the factors.
        settings: any other keys by section, such as `{"train": {"solver": "exact"}}`.
        random_state: `seed`, an integer. With a generator or None, each fit draws its seed.
        device: `cpu`, `cuda`, `mps`, or `auto` for the best of them.
        verbose: print the lines that `cofi-dist train` prints.

    Attributes:
        model_: the `cofi_dist.Model`, for lists, similar items and new users.
        n_features_in_ (int): 2.
        feature_names_in_ (NDArray[object]): names of the two columns, if `fit` was given a frame.
    """

    model_: Model

    def __init__(
        self,
        *,
        num_features: int = 100,
        item_bias: bool = False,
        user_bias: bool = True,
        centre: Literal["item_mean", "damped_item_mean", "global_mean", "none"] = "item_mean",
        duplicates: Literal["error", "last", "mean"] = "error",
        optimizer: Literal["adam", "als"] = "als",
        epochs: int | None = None,
        lr: float = 1e-4,
        lambda_: float = 1.0,
        lambda_power: float = 0.0,
        lambda_b: float = 0.0,
        dtype: Literal["float32", "float64"] = "float32",
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        random_state: Any = 1,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        verbose: bool = False,
    ) -> None:
        self.num_features = num_features
        self.item_bias = item_bias
        self.user_bias = user_bias
        self.centre = centre
        self.duplicates = duplicates
        self.optimizer = optimizer
        self.epochs = epochs
        self.lr = lr
        self.lambda_ = lambda_
        self.lambda_power = lambda_power
        self.lambda_b = lambda_b
        self.dtype = dtype
        self.settings = settings
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def fit(self, pairs: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from the rating of each pair.

        Args:
            pairs: N pairs, each of a user's and an item's id: an array (N, 2), a list, or a pandas or polars
                frame with two columns. Ids are whole numbers or text.
            y: their ratings, (N,).
            sample_weight: weights of the ratings, (N,). A rating of weight 2 counts twice, and one of weight
                0 is left out.

        Raises:
            ConfigError: a parameter is wrong.
            DataError: pairs, ratings or weights are wrong.
        """
        hint = ""
        with input_errors():
            if y is None:
                raise DataError("fit requires y to be passed, but the target y is None; give the ratings")
            table = read_pairs(pairs)
            check_columns(self, pairs, reset=True)
            # a column (N, 1) is taken with the warning that scikit-learn's own estimators give
            ratings = column_or_1d(y, warn=True) if getattr(y, "ndim", 1) == 2 else y
            table = table.with_columns(rating=read_numbers("y", ratings, len(table)))
            if sample_weight is not None:
                table = table.with_columns(weight=read_numbers("sample_weight", sample_weight, len(table)))
                weighted = table.filter(pl.col("weight") != 0)
                if not len(weighted):
                    raise DataError("sample_weight: all weights are zero; nothing is left to learn from")
                hint = " (rows of weight 0 are not counted)" * (len(weighted) < len(table))
                table = weighted
        sections = self._sections()
        sections["data"]["columns"] = {name: name for name in table.columns}
        self.model_ = self._fit_model(table, sections, hint)
        return self

    def _fit_model(self, table: pl.DataFrame, sections: dict[str, dict[str, Any]], hint: str) -> Model:
        """Train on a table; errors of its rows are `InputError`s, with a hint on how rows are counted."""
        try:
            return fit_model(
                table,
                data=sections["data"],
                model=sections["model"],
                train=sections["train"],
                validation=sections["validation"],
                seed=self._seed(),
                device=self.device,
                progress=bool(self.verbose),
            )
        except DataError as error:
            raise InputError(f"{error}{hint}") from None

    def predict(self, pairs: Any) -> NDArray[np.float64]:
        """Predict the ratings of pairs, (N,): on the scale of the ratings that were learnt from.

        An unknown user or item is treated as the average one (docs/api.md).

        Args:
            pairs: N pairs, as for `fit`.

        Raises:
            NotFittedError: `fit` comes first.
            DataError: the pairs are wrong.
        """
        check_is_fitted(self)
        with input_errors():
            table = read_pairs(pairs)
            check_columns(self, pairs, reset=False)
        return self.model_.predict(table["user"], table["item"])

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether there is a model; scikit-learn would take the parameter `lambda_` for a result."""
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that the columns are categories, which may be text."""
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def _sections(self) -> dict[str, dict[str, Any]]:
        """Return the sections of the config: the settings and the parameters.

        Raises:
            ConfigError: the settings are no sections, or name what is set otherwise.
        """
        settings = {} if self.settings is None else self.settings
        if not isinstance(settings, Mapping) or not all(isinstance(at, Mapping) for at in settings.values()):
            example = "{'train': {'solver': 'exact'}}"
            raise ConfigError(f"settings: must be sections, such as {example}, not {shortened(settings)}")
        for section, values in settings.items():
            if section not in PARAMETERS:
                raise ConfigError(f"settings: {section}: unknown section; there are {', '.join(PARAMETERS)}")
            for key in values:
                name = f"settings: {section}.{key}"
                if key in PARAMETERS[section]:
                    raise ConfigError(f"{name}: is a parameter; set {key}=...")
                if (section, key) in DECIDED:
                    raise ConfigError(f"{name}: {DECIDED[section, key]}")
        return {
            section: {**settings.get(section, {}), **{key: getattr(self, key) for key in keys}}
            for section, keys in PARAMETERS.items()
        }

    def _seed(self) -> Any:
        """Return the seed of a fit: an integer as it is, or one that a generator draws.

        Raises:
            ConfigError: it is neither.
        """
        given = self.random_state
        if isinstance(given, int | np.integer):
            return given
        if given is None or isinstance(given, np.random.RandomState):
            return int(check_random_state(given).randint(2**31))
        raise ConfigError(
            f"random_state: must be an integer, a RandomState of numpy or None, not {shortened(given)}"
        )
