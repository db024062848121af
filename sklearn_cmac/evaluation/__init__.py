"""Systems measured on a benchmark: what matched, mAP with intervals, and the protocol in full."""

from sklearn_cmac.evaluation._guards import check_benchmark, check_labels
from sklearn_cmac.evaluation._report import (
    QueryReport,
    report_queries,
    report_rankings,
    write_rankings,
)
from sklearn_cmac.evaluation._run import evaluate
from sklearn_cmac.evaluation._table import Evaluation, Row

__all__ = [
    "Evaluation",
    "QueryReport",
    "Row",
    "check_benchmark",
    "check_labels",
    "evaluate",
    "report_queries",
    "report_rankings",
    "write_rankings",
]
