"""OpenVINO runs a network on the processor."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino

from sklearn_cmac.networks._engines import Runner

if TYPE_CHECKING:
    import torch

# What looks up NumPy's types when it is first asked waits for itself for ever where two threads are
# the first at the same time. Here one thread is.
openvino.Type.f32.to_dtype()

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"BF16": "bfloat16", "FP16": "float16"}


class OpenVINO:
    """Converts a traced network to OpenVINO's own form, and runs that."""

    def __init__(self) -> None:
        self._core = openvino.Core()

    def version(self) -> str:
        return openvino.__version__

    def formats(self) -> frozenset[str]:
        able = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return frozenset(ours for theirs, ours in _CAPABILITIES.items() if theirs in able)

    def convert(self, network: torch.nn.Module, *inputs: torch.Tensor) -> dict[str, np.ndarray]:
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        # As openvino.convert_model does it, without the report that sends to its makers.
        front_end = FrontEndManager().load_by_framework("pytorch")
        traced = TorchScriptPythonDecoder(network, example_input=inputs)
        model = front_end.convert(front_end.load(traced))
        for entrance, like in zip(model.inputs, inputs):
            shape = [*[-1] * (like.ndim - 1), like.shape[-1]]
            entrance.get_node().set_element_type(openvino.Type(like.numpy().dtype))
            entrance.get_node().set_partial_shape(openvino.PartialShape(shape))
        model.validate_nodes_and_infer_types()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.xml"
            openvino.save_model(model, path, compress_to_fp16=False)
            return {
                kind: np.fromfile(path.with_suffix(ending), np.uint8)
                for kind, ending in (("graph", ".xml"), ("weights", ".bin"))
            }

    def load(
        self, converted: Mapping[str, np.ndarray], arithmetic: str, recurring: bool = False
    ) -> Runner:
        model = self._core.read_model(converted["graph"].tobytes(), converted["weights"].tobytes())
        cores = os.cpu_count() or 1
        # A stream is one thread that works on one photo: as many run as ask at once.
        options: dict[str, object] = {
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": _HINTS[arithmetic],
        }
        try:
            # What is prepared for a shape of photo is 2 MB with the default network, and made as
            # quickly as found; it would be kept for hundreds of shapes.
            forgetful = {} if recurring else {"CPU_RUNTIME_CACHE_CAPACITY": 0}
            compiled = self._core.compile_model(model, "CPU", {**options, **forgetful})
        except RuntimeError:  # a version that has no such option
            compiled = self._core.compile_model(model, "CPU", options)
        own = threading.local()

        def run(*inputs: np.ndarray) -> np.ndarray:
            if not hasattr(own, "request"):
                own.request = compiled.create_infer_request()
            contiguous = dict(enumerate(map(np.ascontiguousarray, inputs)))
            found = own.request.infer(contiguous, share_inputs=True)
            return np.array(found.to_tuple()[0], np.float32)

        return run
