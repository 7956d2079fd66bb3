"""The manifest against its published schema, and what the reader makes of a bad one."""

from __future__ import annotations

import copy
import dataclasses
import json
import types
import typing

import jsonschema
import pytest

from golden import manifest as manifests
from golden.manifest import Manifest
from refsnn.errors import InputError
from tests.golden.cases import SCHEMA, SUITE, reseal, write


@pytest.mark.parametrize("path", sorted(SUITE.glob("*/manifest.json")), ids=lambda path: path.parent.name)
def test_manifests_fit_the_schema(path):
    document = json.loads(path.read_text())
    jsonschema.validate(document, SCHEMA)
    for key in document:
        broken = copy.deepcopy(document)
        del broken[key]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)


def test_the_schema_has_the_keys_of_the_records():
    """Neither can change without the other."""

    def compare(kind, schema):
        if typing.get_origin(kind) is types.UnionType:
            assert "null" in schema["type"]
            kind = typing.get_args(kind)[0]
        arguments = typing.get_args(kind)
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            assert set(schema["properties"]) == set(schema["required"]) == set(hints)
            assert not schema["additionalProperties"]
            for key, hint in hints.items():
                compare(hint, schema["properties"][key])
        elif typing.get_origin(kind) is tuple:
            compare(arguments[0], schema["items"])
        elif typing.get_origin(kind) is dict:
            compare(arguments[1], schema["additionalProperties"])

    compare(Manifest, SCHEMA)


def edited(path, change):
    """Change the document as someone with an editor would."""
    file = path / manifests.FILE
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema="other"), "has the schema \"other\"; 'refsnn-golden' was expected"),
        (lambda d: d.update(version=2), "is version 2 of the schema 'refsnn-golden', this program reads up to 1"),
        (lambda d: d.pop("steps"), "the key 'steps' is missing"),
        (lambda d: d.update(more=1), "the key 'more' is unknown"),
        (lambda d: d.update(steps="4"), 'steps: is "4"; a whole number was expected'),
        (lambda d: d.update(steps=True), "steps: is true; a whole number was expected"),
        (lambda d: d["populations"][1].update(sources="a"), 'populations[1]: sources: is "a"; a list was expected'),
        (lambda d: d.update(mem=[]), "mem: is []; an object was expected"),
        (lambda d: d.update(reason="another"), "it has been changed"),
    ],
)
def test_a_changed_manifest_is_refused(tmp_path, change, message):
    write("base-2", tmp_path / "case")
    edited(tmp_path / "case", change)
    with pytest.raises(InputError) as caught:
        manifests.read(tmp_path / "case" / manifests.FILE)
    assert message in str(caught.value)
    assert str(tmp_path / "case" / manifests.FILE) in str(caught.value)


def test_what_is_not_a_manifest_is_refused(tmp_path):
    file = tmp_path / manifests.FILE
    with pytest.raises(InputError, match="there is no such file"):
        manifests.read(file)
    file.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        manifests.read(file)
    file.write_text("[]")
    with pytest.raises(InputError, match="has the schema null"):
        manifests.read(file)


def test_a_manifest_is_read_as_it_was_written(tmp_path):
    case = write("base-2", tmp_path / "case")
    text = (case.path / manifests.FILE).read_bytes()
    reseal(case.path)
    assert (case.path / manifests.FILE).read_bytes() == text
