"""Networks of kornia as modules that give all that is asked of them, or take less time."""

from __future__ import annotations

from typing import Any

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
        for module in self.network.modules():
            if isinstance(module, nn.SELU):
                module.forward = _selu_  # type: ignore[assignment, method-assign]
        self.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor, most: int) -> tuple[torch.Tensor, ...]:
        # In this order of numbers torch takes 0.7 of the time.
        x = x.contiguous(memory_format=torch.channels_last)
        features, scores_of_pixels = self.network.extract_dense_map(x)
        (points,), (scores,), _ = self.network.dkd(scores_of_pixels)
        best = torch.sort(scores, descending=True, stable=True).indices[:most]
        points, scores = points[best], scores[best]
        if not len(points):
            return points, features.new_zeros(0, features.shape[1]), scores
        (descriptors,), _ = self.network.desc_head(features, [points])
        return points, descriptors, scores


def _selu_(x: torch.Tensor) -> torch.Tensor:
    """SELU in place, as ALIKED has it, but of functions that torch computes many at a time."""
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    negative = x.clamp(max=0).exp_().sub_(1).mul_(alpha * scale)
    return x.relu_().mul_(scale).add_(negative)


class LightGlueLayer(nn.Module):
    """A layer of LightGlue with what is linear in one piece: the same, but for rounding.

    Parameters
    ----------
    layer : torch.nn.Module
        Kornia's.
    """

    def __init__(self, layer: Any):
        super().__init__()
        inside, across = layer.self_attn, layer.cross_attn
        self.n_heads = across.heads
        self.inside = _queries_keys_values(inside, self.n_heads)
        self.across = _keys_values(across)
        self.after_inside = _after(inside.out_proj, inside.ffn)
        self.after_across = _after(across.to_out, across.ffn)

    def forward(
        self,
        x0: torch.Tensor,
        x1: torch.Tensor,
        encoding0: torch.Tensor,
        encoding1: torch.Tensor,
        absent0: torch.Tensor,
        absent1: torch.Tensor,
    ) -> torch.Tensor:
        """From and to what `_matching_layers.Layer` says of `run`."""
        absent0, absent1 = absent0.T, absent1.T
        x0 = self._look_inside(x0, encoding0, absent0)
        x1 = self._look_inside(x1, encoding1, absent1)
        key0, value0 = self._in_heads(self.across(x0), 2)
        key1, value1 = self._in_heads(self.across(x1), 2)
        message0 = _attend(key0, key1, value1, absent1)
        message1 = _attend(key1, key0, value0, absent0)
        return torch.cat(
            [
                x0 + self.after_across(torch.cat([x0, message0], 1)),
                x1 + self.after_across(torch.cat([x1, message1], 1)),
            ]
        )

    def _look_inside(
        self, x: torch.Tensor, encoding: torch.Tensor, absent: torch.Tensor
    ) -> torch.Tensor:
        query, key, value = self._in_heads(self.inside(x), 3)
        message = _attend(_turned(query, encoding), _turned(key, encoding), value, absent)
        return x + self.after_inside(torch.cat([x, message], 1))

    def _in_heads(self, x: torch.Tensor, n: int) -> tuple[torch.Tensor, ...]:
        """From (tokens, n D) to n of shape (heads, tokens, D / heads)."""
        return x.unflatten(1, (n, self.n_heads, -1)).permute(1, 2, 0, 3).unbind(0)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, absent: torch.Tensor
) -> torch.Tensor:
    weights = torch.softmax(query @ key.transpose(1, 2) + absent, dim=2)
    return (weights @ value).transpose(0, 1).flatten(1)


def _turned(x: torch.Tensor, encoding: torch.Tensor) -> torch.Tensor:
    """Each pair of channels, one of the first half and one of the second, turned by an angle."""
    first, second = x.chunk(2, dim=2)
    cosine, sine = encoding.chunk(2, dim=1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=2)


def _queries_keys_values(attention: Any, n_heads: int) -> nn.Linear:
    """Kornia has the three of a channel side by side, and pairs channels with their neighbours."""

    def reordered(rows: torch.Tensor) -> torch.Tensor:
        query, key, value = rows.unflatten(0, (n_heads, -1, 3)).unbind(2)
        scale = query.shape[1] ** -0.5
        query, key = (torch.cat([part[:, ::2], part[:, 1::2]], 1) for part in (query, key))
        return torch.cat([query * scale, key, value]).flatten(0, 1)

    return _linear(reordered(attention.Wqkv.weight), reordered(attention.Wqkv.bias))


def _keys_values(attention: Any) -> nn.Linear:
    scale = attention.scale**0.5  # both sides of the product have it
    key, value = attention.to_qk, attention.to_v
    return _linear(
        torch.cat([key.weight * scale, value.weight]), torch.cat([key.bias * scale, value.bias])
    )


def _after(out: nn.Linear, ffn: Any) -> nn.Sequential:
    """The last product of an attention and the first of what follows it, in one."""
    first, *others = ffn
    own, message = first.weight.chunk(2, dim=1)
    weight = torch.cat([own, message @ out.weight], 1)
    return nn.Sequential(_linear(weight, first.bias + message @ out.bias), *others)


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.weight.data, made.bias.data = weight, bias
    return made
