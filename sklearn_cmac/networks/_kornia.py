"""Networks of kornia as modules that give all that is asked of them, or take less time."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from kornia.feature import ALIKED
from kornia.feature.aliked.aliked import DeformableConv2d
from kornia.feature.xfeat import XFeatModel
from torch import nn
from torchvision.ops import deform_conv2d


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


class AlikedMap(nn.Module):
    """All that ALIKED sees of a photo, before it chooses points, as one map (n, 43, H, W).

    The features of a pixel are those of four levels, of 32 channels each. The three coarser ones
    are not spread over the pixels, which would take four times the room: each level's numbers are
    laid out over the pixels that they cover.

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
                module.forward = _selu  # type: ignore[assignment, method-assign]
            if isinstance(module, DeformableConv2d):
                module.forward = partial(_convolve_deformed, module)  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        net: Any = self.network
        levels = [net.block1(x)]
        levels.append(net.block2(net.pool2(levels[-1])))
        levels.append(net.block3(net.pool4(levels[-1])))
        levels.append(net.block4(net.pool4(levels[-1])))
        narrow = [net.conv1, net.conv2, net.conv3, net.conv4]
        levels = [net.gate(each(level)) for each, level in zip(narrow, levels)]
        spread = [nn.Identity(), net.upsample2, net.upsample8, net.upsample32]
        first, *others = net.score_head
        # A product with each pixel's features is the sum of one with each level's.
        shares = first.weight.split(levels[0].shape[1], dim=1)
        products = [nn.functional.conv2d(*pair) for pair in zip(levels, shares)]
        scores = sum(each(product) for each, product in zip(spread, products))
        for module in others:
            scores = module(scores)
        sides = [1, 2, 8, 32]
        return torch.cat([*map(_laid_out, levels, sides), torch.sigmoid(scores)], dim=1)


def _laid_out(x: torch.Tensor, side: int) -> torch.Tensor:
    """Each cell's channels over the pixels of its square, filled up by zeros."""
    missing = -x.shape[1] % side**2
    return nn.functional.pixel_shuffle(nn.functional.pad(x, (0, 0, 0, 0, 0, missing)), side)


def _selu(x: torch.Tensor) -> torch.Tensor:
    """SELU by what engines compute together with the product before it."""
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return nn.functional.elu(x, alpha) * scale


def _convolve_deformed(module: DeformableConv2d, x: torch.Tensor) -> torch.Tensor:
    """The same numbers, by torchvision's operation, which engines know."""
    most = torch._shape_as_tensor(x)[2:].max() / 4.0
    offsets = module.offset_conv(x).clamp(-most, most)
    convolution = module.regular_conv
    return deform_conv2d(
        x, offsets, convolution.weight, convolution.bias, padding=convolution.padding
    )


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
