"""The results of a sweep: a ``refsnn-results`` document for each number of weight bits, and the same as flat rows.

``docs/sweep.schema.json`` describes the document. Everything in it repeats but the keys of ``refsnn.results.MEASURED``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from refsnn import __version__
from refsnn.results import Results

SCHEMA = "refsnn-sweep"
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All that a sweep found out.

    Attributes:
        results: by the number of weight bits, in the order asked for.
        notes: about this run of it; not in the documents, because another run may do without.
    """

    results: dict[int, Results]
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The JSON document as plain dictionaries and lists."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "creator": f"refsnn {__version__}",
            "sweep": [{"weight_bits": bits, "results": found.document()} for bits, found in self.results.items()],
        }

    def json(self) -> str:
        """The JSON document as text."""
        return json.dumps(self.document(), indent=2, allow_nan=False) + "\n"

    def csv(self) -> str:
        """A row a number of weight bits, method and T, those that were refused included; empty: no such figure."""
        text = io.StringIO()
        rows = list(self.rows())
        writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of ``csv``."""
        for bits, found in self.results.items():
            about = {"weights": found.weights.name, "data": found.data.name, "images": found.data.images}
            for run in found.runs:
                yield {
                    **about,
                    "weight_bits": bits,
                    "method": run.method,
                    "steps": run.steps,
                    "same_as": run.same_as,
                    "accuracy": run.accuracy,
                    "ann_accuracy": found.ann.accuracy,
                    "agreement": run.agreement,
                    "relative_output_error": run.output_error and run.output_error.relative,
                    "spikes_per_image": run.spikes_per_image,
                    "synaptic_operations_per_image": run.synaptic_operations_per_image,
                    "input_operations_per_image": run.input_operations_per_image,
                    "saturations": run.saturations,
                    "membrane_bits": run.membrane_bits,
                    "latency_alone": run.latency.alone,
                    "latency_pipelined": run.latency.pipelined,
                    "energy_arithmetic_uj": run.energy_uj.arithmetic,
                    "energy_weight_reads_uj": run.energy_uj.weight_reads,
                    "network": run.network,
                    "seconds": run.seconds,
                    "images_per_second": run.images_per_second,
                }
            for item in found.refused:
                yield {
                    **about,
                    "weight_bits": bits,
                    "method": item.method,
                    "steps": item.steps,
                    "refused": item.reason,
                    "needs_bits": item.bits,
                }
