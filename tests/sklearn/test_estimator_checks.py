"""scikit-learn's own checks of estimators hold, on pairs that are made of their random numbers."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_array

from cofi_dist.sklearn import MatrixFactorization

# The checks that do not apply, and why.
NOT_APPLICABLE = {
    "check_n_features_in_after_fitting": "pairs have two columns, whatever the numbers that they are made of",
    "check_sample_weight_equivalence_on_dense_data": (
        "it repeats rows; a pair has one rating, and `duplicates: mean` counts the mean of several once"
    ),
}


class OnRandomNumbers(MatrixFactorization):
    """Make pairs of the checks' random numbers, which are no ids."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        return super().fit(pairs_of(X), y, sample_weight)

    def predict(self, X: Any) -> NDArray[np.float64]:
        return super().predict(pairs_of(X))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = tags.input_tags.string = False
        return tags


def pairs_of(X: Any) -> NDArray[np.int64]:
    numbers = check_array(X)
    pairs: NDArray[np.float64] = np.column_stack([4 * numbers[:, 0], 8 * numbers.sum(axis=1)])
    return np.floor(pairs).astype(np.int64)


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [OnRandomNumbers(num_features=4, epochs=2, duplicates="mean")],
    expected_failed_checks=lambda estimator: NOT_APPLICABLE,
)
def test_check(estimator: OnRandomNumbers, check: Callable[[OnRandomNumbers], None]) -> None:
    check(estimator)
