"""Systems measured on a benchmark: what matched, mAP with intervals, and the protocol in full."""

from sklearn_cmac.evaluation._run import Evaluation, Row, check_benchmark, check_labels, evaluate

__all__ = ["Evaluation", "Row", "check_benchmark", "check_labels", "evaluate"]
