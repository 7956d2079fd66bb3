"""Random ANN graphs that use every operation, for the tests of the conversion."""

from __future__ import annotations

import numpy as np

from refsnn.ann import graph as ann


class Builder:
    """Adds operations with random weights; every method returns the name of what it added."""

    def __init__(self, seed: int, shape: tuple[int, ...] = (3, 8, 8)) -> None:
        self.random = np.random.default_rng(seed)
        self.operations: list[ann.Operation] = [ann.Input(name="input", shape=shape)]

    def add(self, operation: ann.Operation) -> str:
        self.operations.append(operation)
        return operation.name

    def name(self, kind: str) -> str:
        return f"{kind}_{len(self.operations)}"

    def graph(self, preprocessing: ann.Preprocessing | None = None) -> ann.Graph:
        return ann.Graph(operations=tuple(self.operations), preprocessing=preprocessing)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.graph_so_far(name).shapes[name]

    def graph_so_far(self, name: str) -> ann.Graph:
        needed, keep = {name}, []
        for operation in reversed(self.operations):
            if operation.name in needed:
                needed.update(operation.inputs)
                keep.append(operation)
        return ann.Graph(operations=tuple(reversed(keep)))

    def conv(self, source, outputs, kernel=3, *, stride=1, padding=None, dilation=1, groups=1, bias=True):
        channels = self.shape(source)[0] // groups
        weights = self.random.normal(size=(outputs, channels, kernel, kernel)) / np.sqrt(channels * kernel * kernel)
        side = (kernel - 1) // 2
        return self.add(
            ann.Conv(
                name=self.name("conv"),
                inputs=(source,),
                weights=weights,
                bias=self.random.normal(size=outputs) * 0.1 if bias else None,
                stride=(stride, stride),
                padding=padding if padding is not None else (side, side, side, side),
                dilation=(dilation, dilation),
                groups=groups,
            )
        )

    def dense(self, source, outputs, bias=True):
        inputs = self.shape(source)[0]
        return self.add(
            ann.Dense(
                name=self.name("dense"),
                inputs=(source,),
                weights=self.random.normal(size=(outputs, inputs)) / np.sqrt(inputs),
                bias=self.random.normal(size=outputs) * 0.1 if bias else None,
            )
        )

    def norm(self, source):
        channels = self.shape(source)[0]
        r = self.random
        return self.add(
            ann.BatchNorm(
                name=self.name("norm"),
                inputs=(source,),
                mean=r.normal(size=channels) * 0.2,
                variance=r.uniform(0.5, 2, channels),
                gamma=r.uniform(0.5, 1.5, channels) * r.choice([-1, 1, 1, 1], channels),
                beta=r.normal(size=channels) * 0.2,
                epsilon=1e-3,
            )
        )

    def relu(self, source, **options):
        return self.add(ann.ReLU(name=self.name("relu"), inputs=(source,), **options))

    def max_pool(self, source, kernel=2, stride=2, padding=(0, 0, 0, 0), zero_padding=False):
        return self.add(
            ann.MaxPool(
                name=self.name("maxpool"),
                inputs=(source,),
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=padding,
                zero_padding=zero_padding,
            )
        )

    def average_pool(self, source, kernel=2, stride=2, padding=(0, 0, 0, 0)):
        return self.add(
            ann.AveragePool(
                name=self.name("avgpool"),
                inputs=(source,),
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=padding,
            )
        )

    def global_average(self, source):
        _, height, width = self.shape(source)
        return self.add(
            ann.AveragePool(name=self.name("gap"), inputs=(source,), kernel=(height, width), stride=(height, width))
        )

    def pad(self, source, padding=(1, 0, 0, 1)):
        return self.add(ann.Pad(name=self.name("pad"), inputs=(source,), padding=padding))

    def pad_channels(self, source, before, after):
        return self.add(ann.PadChannels(name=self.name("padc"), inputs=(source,), before=before, after=after))

    def sum(self, *sources):
        return self.add(ann.Add(name=self.name("add"), inputs=sources))

    def concatenate(self, *sources):
        return self.add(ann.Concatenate(name=self.name("cat"), inputs=sources))

    def flatten(self, source, order="chw"):
        return self.add(ann.Flatten(name=self.name("flat"), inputs=(source,), order=order))

    def reshape(self, source, shape, order="chw"):
        return self.add(ann.Reshape(name=self.name("reshape"), inputs=(source,), shape=shape, order=order))

    def softmax(self, source):
        return self.add(ann.Softmax(name=self.name("softmax"), inputs=(source,)))


def plain(seed):
    b = Builder(seed)
    x = b.relu(b.norm(b.conv("input", 8)))
    x = b.relu(b.conv(x, 8, stride=2, padding=(0, 1, 0, 1)))
    x = b.average_pool(x)
    return b.softmax(b.dense(b.flatten(x), 5)), b


def channels_last(seed):
    b = Builder(seed)
    x = b.max_pool(b.relu(b.conv("input", 6)))
    x = b.relu(b.norm(b.dense(b.flatten(x, "hwc"), 18)))
    x = b.relu(b.conv(b.reshape(x, (2, 3, 3), "hwc"), 4))
    return b.dense(b.flatten(x, "hwc"), 5), b


def residual(seed):
    b = Builder(seed)
    x = b.relu(b.conv("input", 8))
    y = b.norm(b.conv(b.relu(b.norm(b.conv(x, 8))), 8))
    x = b.relu(b.sum(x, y))
    y = b.norm(b.conv(b.relu(b.conv(x, 12, stride=2)), 12))
    x = b.relu(b.sum(b.norm(b.conv(x, 12, 1, stride=2)), y))
    y = b.conv(x, 16, stride=2)
    x = b.relu(b.sum(b.pad_channels(b.average_pool(x, 1, 2), 1, 3), y))
    return b.softmax(b.dense(b.flatten(b.global_average(x)), 5)), b


def preactivation(seed):
    b = Builder(seed)
    x = b.conv("input", 6)
    for _ in range(2):
        y = b.conv(b.relu(b.norm(x)), 6)
        y = b.conv(b.relu(b.norm(y)), 6)
        x = b.sum(x, y)
    x = b.relu(b.norm(x))
    return b.dense(b.flatten(b.global_average(x)), 5), b


def mobile(seed):
    b = Builder(seed)
    x = b.relu(b.conv("input", 8, stride=2), maximum=6.0)
    y = b.relu(b.norm(b.conv(x, 16, 1)), maximum=6.0)
    y = b.relu(b.norm(b.conv(y, 16, groups=16)), maximum=6.0)
    x = b.sum(x, b.norm(b.conv(y, 8, 1)))
    y = b.conv(b.conv(x, 8, groups=8), 10, 1)
    return b.dense(b.flatten(b.global_average(b.relu(y))), 5), b


def dense_blocks(seed):
    b = Builder(seed)
    x = b.relu(b.conv("input", 4))
    y = b.conv(b.relu(b.norm(x)), 3)
    x = b.concatenate(x, y)
    y = b.relu(b.conv(b.relu(b.norm(x)), 4, groups=1))
    x = b.concatenate(b.max_pool(x, 3, 2, (1, 1, 1, 1)), b.max_pool(y, 3, 2, (0, 1, 0, 1), True))
    x = b.relu(b.conv(b.norm(x), 8))
    return b.dense(b.flatten(x), 5), b


def oddities(seed):
    b = Builder(seed)
    x = b.relu(b.max_pool(b.conv("input", 4)))
    x = b.pad(x, (1, 2, 0, 1))
    x = b.relu(b.conv(x, 6, padding=(0, 0, 1, 0), dilation=2))
    x = b.average_pool(b.pad(x), 2, 1)
    x = b.relu(b.norm(x))
    x = b.average_pool(b.conv(x, 4, 1), 2, 1)
    x = b.max_pool(b.pad(b.relu(b.norm(x))), 2, 1)
    return b.relu(b.norm(b.flatten(x))), b


def input_pooled(seed):
    b = Builder(seed)
    x = b.concatenate(b.max_pool("input"), b.average_pool("input"))
    y = b.relu(b.conv(x, 6, groups=2))
    z = b.relu(b.sum(b.conv(y, 6), b.conv(b.average_pool("input"), 6)))
    return b.flatten(b.global_average(z)), b


FAMILIES = [plain, channels_last, residual, preactivation, mobile, dense_blocks, oddities, input_pooled]
