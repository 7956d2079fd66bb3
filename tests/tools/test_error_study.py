"""The conversion-error study: the parts add up as the theorems say."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from tools import error_study


def test_the_lossless_modes_have_no_unevenness(tmp_path):
    application = typer.Typer()
    application.command()(error_study.study)
    arguments = ["digits", "--steps", "2,4", "--picture", "4", "--pictures", str(tmp_path), "--threads", "1"]
    result = CliRunner().invoke(application, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[2:]]
    rows = [cells for cells in rows if cells[0] == "digits"]
    assert [cells[1:3] for cells in rows] == [[method, t] for t in ("2", "4") for method in error_study.METHODS]
    for _, method, _, clipping, quantisation, unevenness, total in rows:
        assert (float(unevenness) == 0) == method.startswith("spikeconverter")
        assert abs(float(clipping) + float(quantisation) + float(unevenness) - float(total)) < 0.2
        assert float(quantisation) > 0
    assert (tmp_path / "errors-digits.svg").read_text().startswith("<?xml")
    result = CliRunner().invoke(application, ["nothing"])
    assert result.exit_code == 2
