"""Torch runs a network; and what an engine converts: the whole way from pixels to a map."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from sklearn_cmac._threads import one_torch_thread


class FromPixels(nn.Module):
    """From pixels (n, h, w, 3) of uint8 to a map (n, H, W, D).

    Parameters
    ----------
    forward_pass : callable
        From input (n, 3, h, w) to map (n, D, H, W).
    mean, std : tuple of 3 floats
        The input is (pixels / 255 - mean) / std.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        forward_pass: Callable[[torch.Tensor], torch.Tensor],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ):
        super().__init__()
        self.forward_pass = forward_pass
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        scaled = (pixels.permute(0, 3, 1, 2) / 255.0 - self.mean) / self.std
        return self.forward_pass(scaled).permute(0, 2, 3, 1)


class Cut(nn.Module):
    """A network up to one of its modules. Unlike an early stop, this can be traced.

    Parameters
    ----------
    network : torch.nn.Module
    module : str or None
        The path of the module whose output is the map; None is the network's own output.
    """

    def __init__(self, network: nn.Module, module: str | None):
        super().__init__()
        self.network = network
        self._reached: list[torch.Tensor] = []
        self._cut = module is not None
        if module is not None:
            network.get_submodule(module).register_forward_hook(self._reach)

    def _reach(self, _module: nn.Module, _args: object, output: torch.Tensor) -> None:
        self._reached.append(output)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._reached.clear()
        output = self.network(x)
        return self._reached.pop(0) if self._cut else output


class TorchRunner:
    """Runs a network on a device; on the processor in one thread, whoever asks.

    Parameters
    ----------
    forward_pass, mean, std
        As for `FromPixels`.
    device : str
        A torch device.
    arithmetic : "float32", "bfloat16" or "float16"
    """

    def __init__(
        self,
        forward_pass: Callable[[torch.Tensor], torch.Tensor],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device: str,
        arithmetic: str,
    ):
        self.network = FromPixels(forward_pass, mean, std).to(device)
        self.device = torch.device(device)
        self.dtype = None if arithmetic == "float32" else getattr(torch, arithmetic)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        limited = one_torch_thread if self.device.type == "cpu" else nullcontext()
        half = torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)
        with limited, torch.inference_mode(), half:
            found = self.network(torch.from_numpy(np.array(pixels)).to(self.device))
            return found.float().contiguous().cpu().numpy()
