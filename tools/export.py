"""From PyTorch to the ANN graph: any module that ``torch.fx`` can trace.

For a module of your own, in Python: ``refsnn.ann.project.write(path, export(module, shape), writer="me")``;
for files of ``torch.save`` there is ``tools.checkpoints``. Layers come out as they are (convolution, batch norm,
activation); folding is the conversion's business.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn

from refsnn.ann.graph import Graph, Preprocessing
from refsnn.errors import InputError
from tools import activations
from tools.compare import difference
from tools.torch_layers import BATCH, Translation

TOLERANCE = 1e-6
"""Of the largest output: float64 in another order of additions, through networks of any depth."""


def export(module: nn.Module, shape: tuple[int, ...], preprocessing: Preprocessing | None = None) -> Graph:
    """A module in evaluation mode as a graph, compared with the module on random images before it is returned.

    Args:
        module: reads one batch ``(N, *shape)`` and returns one tensor. It is left as it was.
        shape: ``(C, H, W)`` or ``(C,)``.
        preprocessing: what the graph shall say of its images.

    Raises:
        InputError: ``torch.fx`` cannot trace the module, a layer or function has no counterpart in the graph (the
            message names its node), or the graph computes something else than the module.
    """
    module = copy.deepcopy(module).cpu().double().eval()
    x = torch.randn((BATCH, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    try:
        expected = module(x)
        trace = fx.GraphModule(module, _Tracer().trace(module))
        _Shapes(trace).run(x)
    except Exception as error:  # the module's own code runs here, and may raise anything
        raise InputError(f"torch.fx cannot trace {type(module).__name__} on images of {shape}: {error}") from error
    result = Graph(operations=Translation(trace).operations, preprocessing=preprocessing)
    worst = difference(result, x.numpy(), expected.detach().numpy())
    if not worst <= TOLERANCE:
        raise InputError(
            f"the exported graph differs from the module by {worst:g} of its largest output: the module does something "
            "that its trace does not show, such as a branch on its input"
        )
    return result


@torch.no_grad()
def halve(module: nn.Module) -> None:
    """Round matrices and kernels to half precision in place; their file then takes half the space.

    Biases, batch norms and learned bounds stay as they are: they are few, and some are too small.
    """
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.copy_(parameter.half())


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        leaf: bool = super().is_leaf_module(m, module_qualified_name)
        return leaf or isinstance(m, activations.QCFS | activations.Clip)


class _Shapes(fx.Interpreter):
    """Runs the trace and notes the shape of every tensor in ``node.meta``."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
        return result
