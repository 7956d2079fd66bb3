"""ONNX Runtime: the plain network of the same shape, run once, in fp32 and in int8.

Each neuron becomes a ReLU of its current over its threshold; a shortcut without a convolution adds as it is, and
sum-pools average. int8 is ONNX Runtime's static quantisation, per channel, calibrated on some of the images: unsigned
activations, signed weights, quantise and dequantise nodes. Other types of activations or weights were slower by far,
and the other format, of quantised operators, was not faster.
"""

from __future__ import annotations

import copy
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import quantization

from benchmarks.peers import Case, Engine, Outcome, deviation
from refsnn.network import Network, Projection, Spiking

OPSET = 17
FORMAT = 8
"""Versions of the operators and of the file that every ONNX Runtime since 1.12 reads."""


class Graph:
    """The network as an ONNX model for a fixed batch."""

    def __init__(self, network: Network, batch: int) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        for population in network.spiking:
            total = ""
            for projection in network.incoming(population.name):
                part = self.current(projection, population, bias=not total)
                total = self.add("Add", [total, part]) if total else part
            self.add("Relu", [total], population.name)
        (readout,) = network.incoming(network.readout.name)
        mean = self.add("GlobalAveragePool", [readout.source])
        flat = self.add("Flatten", [mean])
        weights = self.constant(readout.weights.astype(np.float32).T / 127)
        self.add("MatMul", [flat, weights], "readout")
        shape = (batch, *network.input.shape)
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("readout", TensorProto.FLOAT, (batch, *network.readout.shape))],
            self.constants,
        )
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=FORMAT)
        onnx.checker.check_model(self.model)

    def current(self, projection: Projection, population: Spiking, bias: bool) -> str:
        """What a projection adds to a population, over the threshold."""
        if projection.kind == "identity":
            return projection.source
        source, pooled = projection.source, 1
        if projection.pool:
            kernel, stride = projection.pool.kernel, projection.pool.stride
            source = self.add("AveragePool", [source], kernel_shape=kernel, strides=stride)
            pooled = kernel[0] * kernel[1]
        threshold = population.threshold.astype(np.float32)
        inputs = [
            source,
            self.constant(projection.weights.astype(np.float32) * pooled / threshold.reshape(-1, 1, 1, 1)),
        ]
        if bias:
            inputs.append(self.constant(population.bias / threshold))
        return self.add(
            "Conv", inputs, strides=projection.stride, pads=[projection.padding[0]] * 4, group=projection.groups
        )

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Append a node; returns its output's name."""
        output = output or f"{kind} {len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        """Append float32 values; returns their name."""
        name = f"constant {len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name


class Session:
    """An ONNX model, run on the processor."""

    exact = False

    def __init__(self, name: str, model: onnx.ModelProto, case: Case, note: str = "") -> None:
        self.name, self.note, self.batch = name, note, case.batch
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])

    def run(self, images: NDArray[np.uint8]) -> Outcome:
        """Run images; a batch that is not full is not run."""
        pixels = images.astype(np.float32)
        parts = [pixels[first : first + self.batch] for first in range(0, len(pixels) - self.batch + 1, self.batch)]
        begin = time.perf_counter()
        outputs = [self.session.run(None, {"input": part})[0] for part in parts]
        return Outcome(np.concatenate(outputs), time.perf_counter() - begin)


class Images(quantization.CalibrationDataReader):
    """Hands images to the calibration, a batch at a time."""

    def __init__(self, images: NDArray[np.uint8], batch: int) -> None:
        pixels = images.astype(np.float32)
        self.parts = iter(pixels[first : first + batch] for first in range(0, len(pixels), batch))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, or None."""
        part = next(self.parts, None)
        return None if part is None else {"input": part}


def quantise(model: onnx.ModelProto, images: NDArray[np.uint8], batch: int) -> onnx.ModelProto:
    """The same model in int8."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises a preparation that this model, all shapes known, does not need
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantization.quantize_static(
                copy.deepcopy(model),  # it moves the weights of what it is given into a file
                path,
                Images(images, batch),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
            )
            return onnx.load(path)
    finally:
        logger.setLevel(level)


def engines(case: Case) -> list[Engine]:
    """fp32, and int8."""
    model = Graph(case.network, case.batch).model
    images = case.images[: max(len(case.images) // case.batch, 1) * case.batch]
    plain = Session("ONNX Runtime fp32", model, case)
    small = Session("ONNX Runtime int8", quantise(model, images, case.batch), case)
    small.note = deviation(small.run(images), plain.run(images))
    return [plain, small]
