"""Pictures of what the steps did."""

from sklearn_cmac.inspection._captions import count_outlying
from sklearn_cmac.inspection._evaluation_page import write_evaluation
from sklearn_cmac.inspection._match_display import MatchDisplay
from sklearn_cmac.inspection._outlines import (
    Outline,
    box_outline,
    numbered_outlines,
    outlines_of,
    svg_overlay,
    svg_path,
    trace_cells,
)
from sklearn_cmac.inspection._overlay import draw_box, overlay_matches, overlay_regions
from sklearn_cmac.inspection._page import Figure, Ranking, write_page
from sklearn_cmac.inspection._precision_recall_display import (
    PrecisionRecallDisplay,
    precision_at_recall,
)
from sklearn_cmac.inspection._ranking_display import RankingDisplay
from sklearn_cmac.inspection._regions_display import RegionsDisplay
from sklearn_cmac.inspection._results import write_results
from sklearn_cmac.inspection._score_surface_display import ScoreSurfaceDisplay

__all__ = [
    "Figure",
    "MatchDisplay",
    "Outline",
    "PrecisionRecallDisplay",
    "Ranking",
    "RankingDisplay",
    "RegionsDisplay",
    "ScoreSurfaceDisplay",
    "box_outline",
    "count_outlying",
    "draw_box",
    "numbered_outlines",
    "outlines_of",
    "overlay_matches",
    "overlay_regions",
    "precision_at_recall",
    "svg_overlay",
    "svg_path",
    "trace_cells",
    "write_evaluation",
    "write_page",
    "write_results",
]
