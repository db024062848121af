"""How good a ranking is."""

from sklearn_cmac.metrics._average_precision import average_precision, average_precision_at_k
from sklearn_cmac.metrics._benchmark import evaluate_rankings, precision_at_k, recall_at_k
from sklearn_cmac.metrics._bootstrap import bootstrap_interval
from sklearn_cmac.metrics._chance import expected_average_precision
from sklearn_cmac.metrics._scorer import RetrievalScorer

__all__ = [
    "RetrievalScorer",
    "average_precision",
    "average_precision_at_k",
    "bootstrap_interval",
    "evaluate_rankings",
    "expected_average_precision",
    "precision_at_k",
    "recall_at_k",
]
