"""ONNX Runtime runs a network on the processor."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from sklearn_cmac.networks._engines import Runner

if TYPE_CHECKING:
    import torch

_OPSET = 18


class OnnxRuntime:
    """Exports a traced network to ONNX, and runs that."""

    def version(self) -> str:
        return onnxruntime.__version__

    def formats(self) -> frozenset[str]:
        return frozenset()

    def convert(self, network: torch.nn.Module, pixels: torch.Tensor) -> dict[str, np.ndarray]:
        import torch

        file = io.BytesIO()
        with _nothing_printed():
            torch.onnx.export(
                network,
                (pixels,),
                file,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=_OPSET,
                input_names=["pixels"],
                output_names=["map"],
                dynamic_axes={
                    "pixels": {0: "n", 1: "h", 2: "w"},
                    "map": {0: "n", 1: "rows", 2: "columns"},
                },
            )
        return {"graph": np.frombuffer(file.getvalue(), np.uint8)}

    def load(self, converted: Mapping[str, np.ndarray], arithmetic: str) -> Runner:
        options = onnxruntime.SessionOptions()
        # The thread that asks is the one that computes.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = converted["graph"].tobytes()
        session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])

        def run(pixels: np.ndarray) -> np.ndarray:
            (found,) = session.run(["map"], {"pixels": np.ascontiguousarray(pixels)})
            return np.asarray(found, np.float32)

        return run


@contextmanager
def _nothing_printed() -> Iterator[None]:
    """Where an export fails, the exporter prints the whole network, past Python."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
