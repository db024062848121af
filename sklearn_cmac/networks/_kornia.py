"""XFeat and ALIKED by kornia, as modules that give all that is asked of them."""

from __future__ import annotations

import torch
from kornia.feature import ALIKED
from kornia.feature.xfeat import XFeatModel
from torch import nn


class _XFeat(XFeatModel):
    def _unfold2d(self, x: torch.Tensor, ws: int = 2) -> torch.Tensor:
        # The same numbers, by what the ONNX exporter knows of sizes that vary.
        return nn.functional.pixel_unshuffle(x, ws)


class XFeatMap(nn.Module):
    """All outputs of XFeat as one map (n, 130, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = _XFeat()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.network(x), dim=1)


class AlikedPoints(nn.Module):
    """The points of one photo, the best first: they are described once these are chosen.

    Parameters
    ----------
    name : str
        Which of the published networks.
    """

    def __init__(self, name: str):
        super().__init__()
        self.network = ALIKED(name)

    def forward(self, x: torch.Tensor, most: int) -> tuple[torch.Tensor, ...]:
        features, scores_of_pixels = self.network.extract_dense_map(x)
        (points,), (scores,), _ = self.network.dkd(scores_of_pixels)
        best = torch.sort(scores, descending=True, stable=True).indices[:most]
        points, scores = points[best], scores[best]
        if not len(points):
            return points, features.new_zeros(0, features.shape[1]), scores
        (descriptors,), _ = self.network.desc_head(features, [points])
        return points, descriptors, scores
