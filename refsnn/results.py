"""The measured results of the main job, and the JSON document that carries them (schema ``refsnn-results``).

``docs/results.schema.json`` describes the document; a test holds the two together. Everything in it is repeatable for
equal inputs except the keys named in ``MEASURED``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = "refsnn-results"
VERSION = 1
MEASURED = ("seconds", "images_per_second")
"""The keys whose values are measured times: the only ones that differ when the same command runs again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputError:
    """How far a spiking network's outputs are from the ANN's, over all images and outputs.

    Attributes:
        rmse, mae: root of the mean squared and mean absolute difference, in the unit of the ANN's outputs.
        relative: ``rmse`` over the root mean square of the ANN's outputs; 0 where the ANN's outputs are all 0.
    """

    rmse: float
    mae: float
    relative: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Counters of one spiking population.

    Attributes:
        neurons: how many it has.
        spikes_per_image: sum of ``|s|`` over its neurons and time-steps.
        synaptic_operations_per_image: of the synapses that feed it, the input's excluded.
        saturations: clamped neuron-steps, over all images.
    """

    name: str
    neurons: int
    spikes_per_image: float
    synaptic_operations_per_image: float
    saturations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """An estimate in microjoules an image, by the model of ``refsnn.analysis.energy``."""

    synapses: float
    neurons: float
    input: float
    weight_reads: float

    @property
    def arithmetic(self) -> float:
        """Everything but the memory."""
        return self.synapses + self.neurons + self.input


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time-steps, by the model of ``refsnn.analysis.latency``.

    Attributes:
        alone: from an image's first step to its answer.
        pipelined: from one answer to the next, where layers work on different images.
    """

    alone: int
    pipelined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One method at one number of time-steps.

    Attributes:
        method: the preset's name.
        steps: T.
        settings: every setting of the conversion, spelled out.
        network: digest of the integer network.
        same_as: the method listed before this one whose integers are the same; it was run once for both.
        accuracy: fraction 0..1 of the images whose label it predicts; None without labels.
        agreement: fraction 0..1 of the images for which it predicts what the ANN predicts; None for a network with
            one linear output.
        output_error: against the ANN's outputs; None where an integer network is run without its ANN.
        spikes_per_image: sum of ``|s|`` over all spiking populations.
        synaptic_operations_per_image: in-bounds synapses of non-zero spikes.
        input_operations_per_image: the input layer's multiply-adds, once an image.
        saturations: clamped neuron-steps, in total over all images.
        drain_steps: steps after the T, the most that an image needed.
        membrane_bits: width of the membranes.
        latency: of an answer, in time-steps.
        seconds, images_per_second: measured. Runs that share one simulation share its time.
    """

    method: str
    steps: int
    settings: dict[str, Any]
    network: str
    same_as: str | None
    accuracy: float | None
    agreement: float | None
    output_error: OutputError | None
    spikes_per_image: float
    synaptic_operations_per_image: float
    input_operations_per_image: float
    saturations: int
    drain_steps: int
    membrane_bits: int
    latency: Latency
    energy_uj: Energy
    layers: tuple[Layer, ...]
    seconds: float
    images_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A method and T that could not run beside others that could.

    Attributes:
        reason: why, in words.
        bits: where integers would not fit, how many they need.
    """

    method: str
    steps: int
    reason: str
    bits: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The network file: name without folder, digest, what it holds and who wrote it."""

    name: str
    sha256: str
    format: str
    writer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The images that the figures are about, and those that the thresholds were calibrated on.

    Attributes:
        name: what the data set calls itself.
        images: how many the figures are about.
        labelled: whether they have labels.
        classes: how many classes the network tells apart; 0 where its outputs are not classes.
        calibration: where the calibration images came from, in words; ``none`` where none were needed.
        calibration_images: how many.
        preprocessing: ``scale``, ``mean`` and ``std``, and in ``from`` who said so; None for an integer network, which
            carries it as a table.
    """

    name: str
    images: int
    labelled: bool
    classes: int
    calibration: str
    calibration_images: int
    preprocessing: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ann:
    """The network that was converted.

    Attributes:
        accuracy: fraction 0..1; None without labels, or where an integer network is run without its ANN.
        activation: what follows the logits: ``softmax``, ``sigmoid``, ``relu`` or ``linear``.
        multiply_adds: in-bounds multiply-adds an image; None without the ANN.
        energy_uj: of these multiply-adds, by the same model: ``int8`` and ``float32`` arithmetic, and ``weight_reads``.
    """

    accuracy: float | None
    activation: str
    multiply_adds: int | None = None
    energy_uj: dict[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All that one command found out."""

    weights: Weights
    data: Data
    ann: Ann
    runs: tuple[Run, ...]
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    version: str = field(default="")

    def document(self) -> dict[str, Any]:
        """The JSON document as plain dictionaries and lists."""
        body = asdict(self)
        creator = f"refsnn {body.pop('version')}".strip()
        return {"schema": SCHEMA, "version": VERSION, "creator": creator, **body}

    def json(self) -> str:
        """The JSON document as text: keys in a fixed order, no NaN."""
        return json.dumps(self.document(), indent=2, allow_nan=False) + "\n"
