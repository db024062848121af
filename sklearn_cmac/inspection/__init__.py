"""Pictures of what the steps did."""

from sklearn_cmac.inspection._overlay import draw_box, overlay_matches, overlay_regions
from sklearn_cmac.inspection._page import Figure, Ranking, write_page

__all__ = ["Figure", "Ranking", "draw_box", "overlay_matches", "overlay_regions", "write_page"]
