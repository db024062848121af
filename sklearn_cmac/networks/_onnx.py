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

    def convert(self, network: torch.nn.Module, *inputs: torch.Tensor) -> dict[str, np.ndarray]:
        import torch

        file = io.BytesIO()
        names = [f"input {i}" for i in range(len(inputs))]
        # Their last axes are of one length.
        free = {
            name: {axis: f"{name}, {axis}" for axis in range(like.ndim - 1)}
            for name, like in zip([*names, "map"], [*inputs, inputs[0]])
        }
        with _nothing_printed():
            torch.onnx.export(
                network,
                inputs,
                file,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=_OPSET,
                input_names=names,
                output_names=["map"],
                dynamic_axes=free,
            )
        return {"graph": np.frombuffer(file.getvalue(), np.uint8)}

    def load(
        self, converted: Mapping[str, np.ndarray], arithmetic: str, recurring: bool = False
    ) -> Runner:
        options = onnxruntime.SessionOptions()
        # The thread that asks is the one that computes.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = converted["graph"].tobytes()
        session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])

        names = [each.name for each in session.get_inputs()]

        def run(*inputs: np.ndarray) -> np.ndarray:
            (found,) = session.run(["map"], dict(zip(names, map(np.ascontiguousarray, inputs))))
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
