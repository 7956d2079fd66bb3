"""What ``--out`` writes: results, integer networks, every image's logits and predictions, and the report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from refsnn import files
from refsnn.analysis import outputs
from refsnn.analysis.diagnosis import Diagnosis
from refsnn.errors import InputError
from refsnn.experiment import Outcome, Simulated

SCHEMA = "refsnn-predictions"
VERSION = 1


def prepare(folder: Path) -> None:
    """Make the folder, before any work is done for it.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name another folder with --out") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder}: cannot be written; name another folder with --out")


def write(folder: Path, outcome: Outcome, diagnoses: Sequence[Diagnosis] | None) -> None:
    """Write everything, file by file, each whole or not at all. Equal outcomes give equal files, except for the
    measured times in ``results.json``.

    Args:
        folder: exists (``prepare``).
        outcome: of the main job.
        diagnoses: for the report; None: no report.
    """
    for each in outcome.simulated:
        each.network.save(folder / network_name(each))
    write_predictions(folder / "predictions.h5", outcome)
    if diagnoses is not None:
        from refsnn.analysis.report import render

        files.write_text(folder / "report.html", render(outcome.results, diagnoses))
    files.write_text(folder / "results.json", outcome.results.json())


def network_name(simulated: Simulated) -> str:
    """The file of a network: named after the first method that it is, and after T where it is made for one."""
    steps = simulated.network.steps
    return f"network-{simulated.methods[0]}{'' if steps is None else f'-T{steps}'}.h5"


def write_predictions(path: Path, outcome: Outcome) -> None:
    """Every image's logits and predictions, schema ``refsnn-predictions`` (``docs/formats.md``)."""
    activation = outcome.results.ann.activation
    with files.create(path, SCHEMA, VERSION) as file:
        file.attrs["data"] = outcome.results.data.name
        if outcome.labels is not None:
            files.put(file, "labels", outcome.labels, axes="N")
        if outcome.logits is not None:
            group = file.create_group("ann")
            files.put(group, "logits", outcome.logits, axes="N ...")
            predictions = outputs.predictions(outcome.logits, activation)
            if predictions is not None:
                files.put(group, "predictions", predictions, axes="N")
        runs = file.create_group("runs")
        for each in outcome.simulated:
            simulation = each.simulation
            for index, steps in enumerate(simulation.steps):
                group = runs.create_group(f"{each.methods[0]}/T{steps}")
                files.put(group, "membranes", simulation.membranes[index], axes="N ...")
                files.put(group, "logits", simulation.logits[index], axes="N ...")
                predictions = outputs.predictions(simulation.logits[index], activation)
                if predictions is not None:
                    files.put(group, "predictions", predictions, axes="N")
                for method in each.methods[1:]:
                    runs.require_group(method)[f"T{steps}"] = group
