"""ONNX files of one input, built node by node."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Adds nodes; every method returns the name of the tensor that it made."""

    def __init__(self, shape=("N", 3, 12, 12), opset=17, seed=0):
        self.random = np.random.default_rng(seed)
        self.shape, self.opset = shape, opset
        self.nodes, self.constants = [], []

    def constant(self, value):
        value = np.asarray(value)
        value = value.astype(np.float32) if value.dtype.kind == "f" else value
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def weights(self, *shape):
        return self.constant(self.random.normal(size=shape) / np.sqrt(max(1, np.prod(shape[1:]))))

    def positive(self, *shape):
        return self.constant(self.random.uniform(0.5, 2, shape))

    def node(self, kind, *inputs, name=None, outputs=1, **attributes):
        made = [f"{kind}_{len(self.nodes)}" + "b" * index for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=name or f"{made[0]}_node", **attributes))
        return made[0]

    def conv(self, x, inputs, outputs, kernel=3, *, groups=1, bias=True, **attributes):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        values = [self.weights(outputs, inputs // groups, *kernel)] + [self.weights(outputs)] * bias
        return self.node("Conv", x, *values, group=groups, **attributes)

    def model(self, *outputs):
        values = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "test",
            [values("image", TensorProto.FLOAT, self.shape)],
            [helper.make_empty_tensor_value_info(name) for name in outputs or [self.nodes[-1].output[0]]],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def save(self, path, *outputs):
        onnx.save(self.model(*outputs), path)
        return path
