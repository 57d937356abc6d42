"""The trained artefact: needs no training data and no trainer."""

from cofi_dist.model.evaluate import Evaluation, Ranking
from cofi_dist.model.facts import Facts
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.model import Model
from cofi_dist.model.run_ratings import Rated

__all__ = ["Evaluation", "Facts", "FoldedUser", "Model", "Ranking", "Rated"]
