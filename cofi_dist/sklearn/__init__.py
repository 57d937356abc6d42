"""Offer matrix factorisation as an estimator of scikit-learn (extra `sklearn`).

`import sklearn` in this room means scikit-learn: imports are absolute.
"""

try:
    import sklearn as _scikit_learn  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ModuleNotFoundError(
        "cofi_dist.sklearn needs scikit-learn: pip install 'cofi-dist[sklearn]'", name="sklearn"
    ) from None

from cofi_dist.sklearn.estimator import MatrixFactorization

__all__ = ["MatrixFactorization"]
