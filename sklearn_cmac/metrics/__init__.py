"""How good a ranking is."""

from sklearn_cmac.metrics._average_precision import average_precision
from sklearn_cmac.metrics._scorer import RetrievalScorer

__all__ = ["RetrievalScorer", "average_precision"]
