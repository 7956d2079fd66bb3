"""ONNX files to the project's own ANN file (``docs/formats.md`` lists the operators).

``python -m tools.onnx model.onnx --out weights.h5``; in Python: ``graph = tools.onnx.load("model.onnx")``.
What depends on no image is computed first; what the finished graph makes of random images is compared with ONNX
Runtime.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from refsnn.ann import project
from refsnn.ann.graph import Graph, Preprocessing
from refsnn.errors import InputError, require
from refsnn.geometry import Shape
from refsnn.terminal import run_command, user_errors
from tools import numbers
from tools.compare import difference
from tools.onnx_operators import Array, Node, Translation

BATCH = 2
"""Images that go through at once, where the file does not fix their number."""
TOLERANCE = 1e-3
"""Of the largest output: single precision through networks of any depth, against double precision."""


def load(
    path: Path, shape: Shape | None = None, preprocessing: Preprocessing | None = None, learned_bounds: bool = False
) -> Graph:
    """Read an ONNX file.

    Args:
        path: the file.
        shape: ``(C, H, W)`` or ``(C,)`` of an image, where the file leaves it open.
        preprocessing: what the graph shall say of its images.
        learned_bounds: the maxima of clips are learned thresholds; else they are fixed maxima, such as ReLU6's.

    Raises:
        InputError: no ONNX file, several inputs or outputs, an open shape, an operator that has no counterpart (the
            message has its name and node), or a graph that computes something else than ONNX Runtime.
    """
    model = _parse(path)
    try:
        name, dtype, batch, stated = _input(model, shape)
        outputs = [value.name for value in model.graph.output]
        if len(outputs) != 1:
            raise InputError(f"has the outputs {', '.join(outputs) or '(none)'}; networks with one are supported")
        nodes = _needed(model, outputs[0])
        readers = Counter(source for node in nodes for source in node.inputs)
        translation = Translation(name, stated, batch, _initialisers(model), readers, learned_bounds)
        for node in nodes:
            if node.kind == "Constant":
                translation.constants[node.outputs[0]] = _constant(node)
            elif node.inputs and all(source in translation.constants for source in node.inputs if source):
                constants = {source: translation.constants[source] for source in node.inputs if source}
                translation.constants |= _computed(model, node, constants)
            else:
                translation.translate(node)
        graph = Graph(operations=translation.finished(outputs[0]), preprocessing=preprocessing)
        x = np.random.default_rng(0).standard_normal((batch, *stated)).astype(dtype)
        worst = difference(graph, x.astype(np.float64), _run(model, {name: x})[0])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not worst <= TOLERANCE:
        raise InputError(
            f"{path}: the graph made of it differs from ONNX Runtime by {worst:g} of its largest output; "
            "an operator means something else than is known here"
        )
    return graph


def _parse(path: Path) -> Any:
    onnx = require("onnx", "onnx")
    require("onnxruntime", "onnx")
    if not path.exists():
        raise InputError(f"{path}: there is no such file")
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's own, or those of files beside it
        raise InputError(f"{path}: is no ONNX file, or damaged: {error}") from error
    if not model.graph.node:
        raise InputError(f"{path}: is no ONNX file, or holds no network")
    return model


def _input(model: Any, shape: Shape | None) -> tuple[str, np.dtype[Any], int, Shape]:
    """Name, type, batch size and shape of the images."""
    from onnx import helper

    known = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in known]
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs) or "(none)"
        raise InputError(f"has the inputs {names}; networks with one are supported")
    (image,) = inputs
    tensor = image.type.tensor_type
    sizes = tuple(int(each.dim_value) for each in tensor.shape.dim)  # 0: open
    batch = sizes[0] if sizes and sizes[0] else BATCH
    if shape is not None and len(sizes) == len(shape) + 1:
        if any(size not in (0, wanted) for size, wanted in zip(sizes[1:], shape, strict=True)):
            raise InputError(f"the input '{image.name}' has the shape {sizes[1:]}, not {shape}")
        sizes = (batch, *shape)
    if len(sizes) not in (2, 4) or 0 in sizes[1:]:
        found = tuple(size or "?" for size in sizes)
        raise InputError(
            f"the input '{image.name}' has the shape {found}; (N, C, H, W) or (N, C) was expected. Say with --shape "
            "what the file leaves open"
        )
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if dtype.kind != "f":
        raise InputError(f"the input '{image.name}' is {dtype}; floating-point numbers were expected")
    return image.name, dtype, batch, sizes[1:]


def _initialisers(model: Any) -> dict[str, Array]:
    from onnx import numpy_helper

    return {each.name: np.asarray(numpy_helper.to_array(each)) for each in model.graph.initializer}


def _needed(model: Any, output: str) -> list[Node]:
    """The nodes that the output depends on, in the file's order, which is topological."""
    from onnx import helper

    needed, result = {output}, []
    for proto in reversed(model.graph.node):
        if needed.isdisjoint(proto.output):
            continue
        needed.update(proto.input)
        attributes = {each.name: helper.get_attribute_value(each) for each in proto.attribute}
        texts = {key: value.decode() for key, value in attributes.items() if isinstance(value, bytes)}
        kind = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
        name = proto.name or next(iter(proto.output))
        result.append(Node(kind, name, tuple(proto.input), tuple(proto.output), attributes | texts, proto))
    return result[::-1]


def _constant(node: Node) -> Array:
    from onnx import numpy_helper

    ((key, value),) = node.attributes.items()
    if key == "value":
        return np.asarray(numpy_helper.to_array(value))
    if key in ("value_float", "value_floats"):
        return np.asarray(value, np.float32)
    if key in ("value_int", "value_ints"):
        return np.asarray(value, np.int64)
    raise node.refuse(f"a constant given as {key} is not supported")


def _computed(model: Any, node: Node, constants: dict[str, Array]) -> dict[str, Array]:
    """What a node makes of constants alone."""
    from onnx import helper, numpy_helper

    outputs = [name for name in node.outputs if name]
    alone = helper.make_model(
        helper.make_graph(
            [node.proto],
            "constant",
            [],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    return dict(zip(outputs, map(np.asarray, _run(alone, {})), strict=True))


def _run(model: Any, inputs: dict[str, Array]) -> list[Array]:
    runtime = require("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        result: list[Array] = session.run(None, inputs)
    except Exception as error:  # its own, several
        raise InputError(f"ONNX Runtime cannot run it: {error}") from error
    return result


def main(
    file: Annotated[Path, typer.Argument(help="The ONNX file.")],
    out: Annotated[Path, typer.Option(help="The refsnn-ann file to write.")],
    shape: Annotated[
        str | None, typer.Option(help="Of an image, where the file leaves it open: channels, height, width.")
    ] = None,
    learned_bounds: Annotated[
        bool, typer.Option("--learned-bounds", help="The maxima of clips are learned thresholds, not such as ReLU6's.")
    ] = False,
    scale: Annotated[float | None, typer.Option(help="Divisor of the pixel bytes.")] = None,
    mean: Annotated[str | None, typer.Option(help="Subtracted after scaling, one or one a channel.")] = None,
    std: Annotated[str | None, typer.Option(help="Divisor after that, one or one a channel.")] = None,
) -> None:
    with user_errors():
        preprocessing = None
        if scale is not None or mean is not None or std is not None:
            preprocessing = Preprocessing(
                scale=1.0 if scale is None else scale,
                mean=numbers.read("mean", mean or "0"),
                std=numbers.read("std", std or "1"),
            )
        size = None if shape is None else numbers.read("shape", shape, int)
        graph = load(file, size, preprocessing, learned_bounds)
        project.write(out, graph, writer=f"refsnn tools.onnx, onnx {require('onnx', 'onnx').__version__}")


if __name__ == "__main__":
    run_command(main, "Write an ONNX file as refsnn-ann.", "python -m tools.onnx")
