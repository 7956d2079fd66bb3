"""Memory map and bit layouts as text, against the layouts themselves and the page that shows them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hdl import layouts
from hdl.core import part_layout, word_widths
from hdl.parameters import Parameters
from hdl.tables import job_layout
from refsnn.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"


def test_the_page_shows_the_layouts() -> None:
    """If this fails: python -m hdl.layouts --page docs/hardware.md"""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- python -m hdl.layouts -->\n")
    shown, end, _ = rest.partition("<!-- end -->\n")
    assert end
    assert shown == layouts.markdown(Parameters())


@pytest.mark.parametrize("sizes", [[], ["channels=3", "rows=2", "pixels=1", "columns=1", "banks=2", "weight_planes=1"]])
def test_fields_fill_their_words(sizes: list[str]) -> None:
    parameters = layouts.sized(sizes)
    for layout in layouts.WORDS.values():
        made = layout(parameters)
        at = 0
        for _, low, width, _ in layouts.flat(made):
            assert low == at
            at += width
        assert at == made.size
    for target, width in word_widths(parameters).items():
        assert f"| {target.name} | " in layouts.memory_map(parameters)
        assert f"| {width} | {-(-width // 32)} |" in layouts.memory_map(parameters)


def test_every_field_is_described() -> None:
    silent = {line.split("`")[1] for line in layouts.markdown(Parameters()).splitlines() if line.endswith("|  |")}
    assert silent == {"data", "settings.low", "settings.high"}  # told by `membrane`, `gated` and `capped`
    assert layouts.meanings(job_layout)["zeros"].startswith("of a max-pool: cells outside the map are zeros")


def test_a_packed_word_has_its_fields_where_the_table_says() -> None:
    parameters = layouts.sized(["event_words=512"])
    found = dict(re.findall(r"\| `(\w+)` \| (?:\d+:)?(\d+) \|", layouts.bits(part_layout, parameters)))
    value = part_layout(parameters).const({"target": 4, "last": 1, "address": 5, "data": 0x123}).as_value().value
    assert value == 4 << int(found["target"]) | 1 << int(found["last"]) | 5 << int(found["address"]) | 0x123 << 16
    assert value.to_bytes(6, "little").hex(" ").upper() in PAGE.read_text(encoding="utf-8")


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="no parameter 'lanes'; channels, rows"):
        layouts.sized(["lanes=3"])
    with pytest.raises(InputError, match="rows is 'two'; a whole number"):
        layouts.sized(["rows=two"])
    with pytest.raises(InputError, match="pixels is 3; a power of two"):
        layouts.sized(["pixels=3"])
    assert layouts.sized(["device=ecp5", "trace=1"]) == Parameters(device="ecp5", trace=True)
