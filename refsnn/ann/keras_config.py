"""The architecture in a Keras file: the JSON of any Keras from 1 to 3 as one flat list of layer calls.

Submodels are expanded; names and settings of Keras 1 become those of Keras 2. What the layers mean is the business of
``keras_layers``; nothing here knows a weight.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from refsnn.errors import InputError

_MODELS = ("Sequential", "Functional", "Model")
_ADDITIONS = ("__operators__.add", "math.add")

_KERAS_1_LAYERS = {
    "Convolution2D": "Conv2D",
    "AtrousConvolution2D": "Conv2D",
    "SeparableConvolution2D": "SeparableConv2D",
}
_KERAS_1_SETTINGS = {
    "nb_filter": "filters",
    "subsample": "strides",
    "border_mode": "padding",
    "bias": "use_bias",
    "dim_ordering": "data_format",
    "output_dim": "units",
    "atrous_rate": "dilation_rate",
    "concat_axis": "axis",
}
_KERAS_1_ORDERS = {"th": "channels_first", "tf": "channels_last"}
_KERAS_1_MERGES = {"sum": "Add", "concat": "Concatenate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One use of a layer.

    Attributes:
        name: of the call, unlike all others: the layer's, behind those of the submodels around it, with dots.
        kind: class of the layer, in the words of Keras 2 and 3.
        config: the layer's settings, in the words of Keras 2 and 3.
        inputs: names of the calls that it reads.
        layers: the layer's own name, behind those of the submodels around it.
        place: where a ``.keras`` archive keeps the layer's weights (``layers``, ``conv2d_1``: the second Conv2D).
    """

    name: str
    kind: str
    config: dict[str, Any]
    inputs: tuple[str, ...]
    layers: tuple[str, ...]
    place: tuple[str, ...]

    @property
    def label(self) -> str:
        """For errors."""
        return f"layer '{self.name}' ({self.kind})"


@dataclass(frozen=True, slots=True)
class _Layer:
    """An entry of a model's list: the JSON, the layer's name, and what each of its calls reads, as (name, node)."""

    name: str
    json: dict[str, Any]
    nodes: tuple[tuple[tuple[str, int], ...], ...]

    @property
    def kind(self) -> str:
        registered = self.json.get("registered_name") or ""
        return registered if ">" in registered else str(self.json["class_name"])

    @property
    def is_function(self) -> bool:
        """Whether it is an operator or function of Keras 3 (``x + y``) rather than a layer."""
        return ".ops." in f"{self.json.get('module') or ''}."


def calls(model: dict[str, Any]) -> tuple[Call, ...]:
    """The calls of a model in topological order: the input first, the output last.

    Args:
        model: the file's ``model_config``: ``class_name`` and ``config``.

    Raises:
        InputError: several inputs or outputs, a subclassed model, a call that reads an unknown layer.
        KeyError, TypeError: the JSON is not what Keras writes.
    """
    if model["class_name"] not in _MODELS:
        raise InputError(
            f"the model is a {model['class_name']}; Sequential and functional models are supported: rebuild it as one "
            "of those, load its weights and save it again"
        )
    expansion = _Expansion()
    output = expansion.add_model(model, (), (), None)
    return expansion.sorted_calls(output)


class _Expansion:
    """Gathers the calls of a model and its submodels; an alias is a name that stands for another call's output."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.aliases: dict[str, str] = {}

    def add_model(
        self, model: dict[str, Any], layers: tuple[str, ...], place: tuple[str, ...], source: str | None
    ) -> str:
        """Add a model's calls; ``source`` is what a submodel reads. Returns the name of its output."""
        config = model["config"]
        if model["class_name"] == "Sequential":
            entries = tuple(_sequential(config))
            outputs = [(entries[-1].name, 0)]
        else:
            entries = tuple(_functional(config))
            outputs = _references(config["output_layers"])
            _check_one("inputs", _references(config["input_layers"]), layers)
            _check_one("outputs", outputs, layers)
        count = {entry.name: len(entry.nodes) for entry in entries}

        def key(reference: tuple[str, int]) -> str:
            name, node = reference
            if name not in count:
                raise InputError(f"layer '{'.'.join((*layers, name))}' is read, but the file does not describe it")
            return ".".join((*layers, name)) + (f".{node}" if count[name] > 1 and node else "")

        places: Counter[str] = Counter()
        for entry in entries:
            own = (*layers, entry.name)
            spot = _snake(str(entry.json["class_name"]))
            here = (*place, "layers", f"{spot}_{places[spot]}" if places[spot] else spot)
            places[spot] += not entry.is_function
            for node, reads in enumerate(entry.nodes):
                inputs = tuple(key(reference) for reference in reads)
                name = key((entry.name, node))
                if entry.kind in _MODELS:
                    if len(entry.nodes) > 1:
                        raise InputError(f"submodel '{name}' is used {len(entry.nodes)} times; give each use its own")
                    self.aliases[name] = self.add_model(entry.json, own, here, inputs[0] if inputs else source)
                elif entry.kind == "InputLayer" and source is not None:
                    self.aliases[name] = source
                else:
                    kind, settings = _modern(entry)
                    self.calls[name] = Call(
                        name=name, kind=kind, config=settings, inputs=inputs, layers=own, place=here
                    )
        return key(outputs[0])

    def sorted_calls(self, output: str) -> tuple[Call, ...]:
        """The calls, aliases resolved, every one behind those that it reads."""

        def resolve(name: str) -> str:
            while name in self.aliases:
                name = self.aliases[name]
            return name

        waiting = [replace(call, inputs=tuple(resolve(name) for name in call.inputs)) for call in self.calls.values()]
        done: dict[str, Call] = {}
        while waiting:
            later = []
            for call in waiting:
                if all(name in done for name in call.inputs):
                    done[call.name] = call
                else:
                    later.append(call)
            if len(later) == len(waiting):
                raise InputError(f"the layers {[call.name for call in waiting]} read each other in a circle")
            waiting = later
        last = done.pop(resolve(output))
        return (*done.values(), last)


def _check_one(word: str, found: list[tuple[str, int]], layers: tuple[str, ...]) -> None:
    if len(found) != 1:
        where = f"submodel '{'.'.join(layers)}'" if layers else "the model"
        names = ", ".join(f"'{name}'" for name, _ in found)
        raise InputError(
            f"{where} has {len(found)} {word} ({names}); networks with one input and one output are supported"
        )


def _sequential(config: Any) -> Iterator[_Layer]:
    """A chain as entries; the input that Keras implies is made explicit."""
    # Keras 1 and early 2 store the bare list.
    layers = config if isinstance(config, list) else config["layers"]
    if not layers:
        raise InputError("the model is a Sequential without layers")
    previous = ""
    for index, layer in enumerate(layers):
        settings = layer["config"]
        kind = layer["class_name"]
        # A Sequential inside another one has no name in Keras 1.
        name = f"{_snake(kind)}#{index}" if isinstance(settings, list) else settings["name"]
        if not previous and kind not in ("InputLayer", *_MODELS):
            shape = settings.get("batch_input_shape") or settings.get("batch_shape")
            if shape is None and isinstance(config, dict):
                shape = config.get("build_input_shape")
            previous = f"{name}_input"
            json = {"class_name": "InputLayer", "config": {"name": previous, "batch_input_shape": shape}}
            yield _Layer(previous, json, ((),))
        yield _Layer(name, layer, (((previous, 0),) if previous else (),))
        previous = name


def _functional(config: dict[str, Any]) -> Iterator[_Layer]:
    for layer in config["layers"]:
        nodes = tuple(tuple(_references(node)) for node in layer["inbound_nodes"])
        yield _Layer(layer.get("name") or layer["config"]["name"], layer, nodes or ((),))


def _references(value: Any) -> list[tuple[str, int]]:
    """All (layer, node) that a piece of JSON refers to, in order, in the notation of any Keras."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            return _references(value["config"]["keras_history"])
        return [found for item in value.values() for found in _references(item)]
    if not isinstance(value, list):
        return []
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int) and isinstance(value[2], int):
        if value[2]:
            raise InputError(f"layer '{value[0]}' has several outputs; that is not supported")
        return [(value[0], value[1]), *_references(value[3:])]
    return [found for item in value for found in _references(item)]


def _modern(entry: _Layer) -> tuple[str, dict[str, Any]]:
    """Class and settings of a layer in the words of Keras 2; ``keras_1`` is set where they were those of Keras 1."""
    kind, config = entry.kind, dict(entry.json["config"])
    if entry.is_function and kind != "Add":
        return f"function {kind}", config
    if kind == "TFOpLambda":
        function = str(config.get("function"))
        return ("Add" if function in _ADDITIONS else f"function {function}"), config
    if kind == "Merge":
        mode = config.get("mode")
        kind = _KERAS_1_MERGES.get(str(mode), f"Merge of mode '{mode}'")
    kind = _KERAS_1_LAYERS.get(kind, kind)
    config["keras_1"] = any(key in config for key in _KERAS_1_SETTINGS)
    for old, new in _KERAS_1_SETTINGS.items():
        if old in config:
            config[new] = config.pop(old)
    if "nb_row" in config:
        config["kernel_size"] = [config.pop("nb_row"), config.pop("nb_col")]
    if config.get("data_format") in _KERAS_1_ORDERS:
        config["data_format"] = _KERAS_1_ORDERS[config["data_format"]]
    return kind, config


def _snake(name: str) -> str:
    """``SeparableConv2D`` to ``separable_conv2d``, as Keras 3 names the folders of an archive."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
