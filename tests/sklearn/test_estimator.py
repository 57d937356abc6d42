"""MatrixFactorization does what scikit-learn's tools expect, and what cofi_dist.fit does."""

import inspect
import pickle
import subprocess
import sys
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

import cofi_dist
from cofi_dist.config.schema import ModelSection
from cofi_dist.config.train_section import TrainSection
from cofi_dist.errors import CofiError, ConfigError, DataError
from cofi_dist.sklearn import MatrixFactorization

TINY: dict[str, Any] = {"num_features": 4, "epochs": 2}


@pytest.fixture(scope="module")
def pairs() -> NDArray[np.int64]:
    cells = np.random.default_rng(0).choice(600, 300, replace=False)
    return np.column_stack([cells // 30, 100 + cells % 30])


@pytest.fixture(scope="module")
def y(pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Ratings that one feature explains."""
    stars: NDArray[np.float64] = 3 + 2 * np.cos(pairs).prod(axis=1)
    return stars


def test_it_learns_what_fit_learns(pairs: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    fitted = MatrixFactorization(**TINY, lambda_=0.5, centre="global_mean", random_state=7).fit(pairs, y)
    table = pl.DataFrame({"userId": pairs[:, 0], "movieId": pairs[:, 1], "rating": y})
    model = cofi_dist.fit(
        table,
        data={"centre": "global_mean"},
        model={"num_features": 4},
        train={"optimizer": "als", "epochs": 2, "lambda_": 0.5},
        seed=7,
    )
    assert all(np.array_equal(fitted.model_.tensors[name], each) for name, each in model.tensors.items())
    assert np.array_equal(fitted.predict(pairs), model.predict(pairs[:, 0], pairs[:, 1]))
    assert fitted.score(pairs, y) == 1 - np.mean((fitted.predict(pairs) - y) ** 2) / np.var(y) > 0.5


def test_the_defaults_are_those_of_the_config() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(MatrixFactorization).parameters.items()
    }
    train, model = TrainSection(optimizer="als"), ModelSection()
    for section, names in (
        (train, ["optimizer", "lr", "lambda_", "lambda_power", "lambda_b", "dtype"]),
        (model, ["num_features", "item_bias", "user_bias"]),
    ):
        assert {name: defaults[name] for name in names} == {name: getattr(section, name) for name in names}


def test_cross_validation(pairs: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    """The held-out users and items may be unknown."""
    scores = cross_validate(
        MatrixFactorization(**TINY), pairs, y, cv=2, error_score="raise",
        scoring=["r2", "neg_root_mean_squared_error"],
    )  # fmt: skip
    assert np.isfinite(scores["test_r2"]).all()


def test_grid_search_over_a_pipeline(pairs: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    """Encoders give whole numbers as floats, and grids numbers of numpy."""
    encoded = make_pipeline(
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), MatrixFactorization(**TINY)
    )
    grid = {"matrixfactorization__lambda_": np.array([0.1, 1000.0])}
    search = GridSearchCV(encoded, grid, cv=2, error_score="raise").fit(pairs, y)
    assert search.best_params_["matrixfactorization__lambda_"] == 0.1
    assert search.predict(pairs[:3]).shape == (3,)


def test_clone_and_pickle(pairs: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    estimator = MatrixFactorization(**TINY, settings={"train": {"cg_steps": 2}}).fit(pairs, y)
    assert clone(estimator).get_params() == estimator.get_params()
    assert not hasattr(clone(estimator), "model_")
    loaded = pickle.loads(pickle.dumps(estimator))
    assert np.array_equal(loaded.predict(pairs), estimator.predict(pairs))


def test_before_fit_there_is_nothing_to_predict(pairs: NDArray[np.int64]) -> None:
    with pytest.raises(NotFittedError):
        MatrixFactorization().predict(pairs)


def test_columns_have_the_names_and_the_order_of_fit(
    pairs: NDArray[np.int64], y: NDArray[np.float64]
) -> None:
    frame = pl.DataFrame(pairs, schema=["who", "what"])
    estimator = MatrixFactorization(**TINY).fit(frame, y)
    assert list(estimator.feature_names_in_) == ["who", "what"]
    assert estimator.n_features_in_ == 2
    with pytest.raises(DataError, match="same order as they were in fit"):
        estimator.predict(frame.select("what", "who"))


def test_a_weight_of_zero_leaves_a_rating_out(pairs: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    weights = np.where(pairs[:, 0] < 5, 0.0, 2.0)
    estimator = MatrixFactorization(**TINY).fit(pairs, y, sample_weight=weights)
    assert estimator.model_.users.raw.min() == 5
    with pytest.raises(ValueError, match="all weights are zero"):
        MatrixFactorization(**TINY).fit(pairs, y, sample_weight=0 * y)


def test_a_generator_draws_another_seed_for_each_fit(
    pairs: NDArray[np.int64], y: NDArray[np.float64]
) -> None:
    def seeds(random_state: Any) -> list[int]:
        estimator = MatrixFactorization(**TINY, random_state=random_state)
        return [estimator.fit(pairs, y).model_.config.seed for _ in range(2)]

    assert seeds(np.int64(3)) == [3, 3]
    first, second = seeds(np.random.RandomState(3))
    assert first != second
    assert [first, second] == seeds(np.random.RandomState(3))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lambda_": -1}, "train.lambda_: input should be greater than or equal to 0, not -1"),
        ({"num_features": "4"}, "model.num_features: '4' is text; write 4, without quotes"),
        ({"optimizer": "sgd"}, "train.optimizer: input should be 'adam' or 'als', not 'sgd'"),
        ({"random_state": "x"}, "random_state: must be an integer, a RandomState of numpy or None, not 'x'"),
        (
            {"settings": {"train.lr": 1}},
            "settings: must be sections, such as {'train': {'solver': 'exact'}}, not {'train.lr': 1}",
        ),
        ({"settings": {"train": {"lr": 1}}}, "settings: train.lr: is a parameter; set lr=..."),
        (
            {"settings": {"data": {"feedback": "implicit"}}},
            "settings: data.feedback: the estimator learns from ratings; for events, take cofi_dist.fit",
        ),
        (
            {"settings": {"training": {}}},
            "settings: training: unknown section; there are data, model, train, validation",
        ),
    ],
)
def test_parameters_are_checked_by_fit_with_the_messages_of_the_config(
    parameters: dict[str, Any], message: str, pairs: NDArray[np.int64], y: NDArray[np.float64]
) -> None:
    estimator = MatrixFactorization(**parameters)
    with pytest.raises(ConfigError) as found:
        estimator.fit(pairs, y)
    assert str(found.value) == message


def test_a_pair_that_is_there_twice_is_an_error_unless_told(
    pairs: NDArray[np.int64], y: NDArray[np.float64]
) -> None:
    pairs, y = np.r_[pairs, pairs[:1]], np.r_[y, 1.0]
    with pytest.raises(DataError, match=r"row 301: .* on row 1 already"):
        MatrixFactorization(**TINY).fit(pairs, y)
    estimator = MatrixFactorization(**TINY, duplicates="last").fit(pairs, y)
    assert estimator.model_.user_counts.sum() == 300


def test_errors_that_training_finds_in_pairs_are_value_errors(
    pairs: NDArray[np.int64], y: NDArray[np.float64]
) -> None:
    weights = np.where(np.arange(300) == 0, 0, -1)
    with pytest.raises(ValueError, match=r"row 1: the weight -1\.0 .* \(rows of weight 0 are not counted\)$"):
        MatrixFactorization(**TINY).fit(pairs, y, sample_weight=weights)
    with pytest.raises(ValueError, match=r"on row 1 already; .* to last or mean$") as found:
        MatrixFactorization(**TINY).fit(np.r_[pairs, pairs[:1]], np.r_[y, 1.0])
    assert isinstance(found.value, DataError)


def test_it_is_fitted_in_other_processes(pairs: NDArray[np.int64], y: NDArray[np.float64]) -> None:
    """As with `n_jobs`: estimators and errors are pickled, and scikit-learn looks for ValueErrors."""
    elsewhere = joblib.Parallel(n_jobs=2)
    fit = joblib.delayed(MatrixFactorization(**TINY).fit)
    (fitted,) = elsewhere([fit(pairs, y)])
    assert np.array_equal(fitted.predict(pairs), MatrixFactorization(**TINY).fit(pairs, y).predict(pairs))
    with pytest.raises(CofiError, match="y: 1 number for 2 pairs") as found:
        elsewhere([fit([(1, 2), (1, 3)], [1.0])])
    assert isinstance(found.value, ValueError)


def test_without_scikit_learn_one_line_says_what_to_install() -> None:
    program = "import sys; sys.modules['sklearn'] = None\nimport cofi_dist.sklearn"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: cofi_dist.sklearn needs scikit-learn: pip install 'cofi-dist[sklearn]'"
    )
