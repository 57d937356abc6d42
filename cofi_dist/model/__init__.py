"""Use a trained model: it needs neither the training data nor the trainer."""

from cofi_dist.model.evaluation import Evaluation, Ranking
from cofi_dist.model.explain import Explanation
from cofi_dist.model.facts import TrainingDataFacts
from cofi_dist.model.fold_in import FoldedUser
from cofi_dist.model.model import Model
from cofi_dist.model.run_ratings import RunRatings

__all__ = ["Evaluation", "Explanation", "FoldedUser", "Model", "Ranking", "RunRatings", "TrainingDataFacts"]
