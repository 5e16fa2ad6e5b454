import json

import numpy as np
import pytest

from npczarr.model.clinical import CLINICAL, PATIENT_ALIASES, SEQUENCE_ALIASES, plain
from npczarr.model.schema import ACQUISITION_NAMES, INDEXES, RESERVED, SCAN_TABLES, voxel_variables
from npczarr.sources.acquisition import ACQUISITION

EVERY = (*INDEXES, *SCAN_TABLES, *voxel_variables("int16"))


def test_names_are_unique_and_reserved():
    names = [variable.name for variable in EVERY]
    assert len(names) == len(set(names))
    assert set(names) <= RESERVED
    assert not {field.name for field in CLINICAL} & RESERVED


@pytest.mark.parametrize("variable", EVERY, ids=lambda variable: variable.name)
def test_a_variable_says_what_it_is(variable):
    attributes = variable.all_attributes()
    assert json.loads(json.dumps(attributes, allow_nan=False)) == attributes
    assert attributes["long_name"]
    assert attributes.get("units") != ""
    assert all(variable.dims)


@pytest.mark.parametrize("variable", EVERY, ids=lambda variable: variable.name)
def test_the_fill_is_a_value_of_its_type_that_says_nothing_is_there(variable):
    fill = variable.fill
    if variable.dtype == "string":
        assert fill == ""
    elif variable.dtype.startswith("float"):
        assert np.isnan(fill)
    elif variable.name == "image":
        assert fill == variable.attributes["_FillValue"] == -32768
    else:
        assert fill == 0


def test_the_image_is_padded_with_the_least_value_of_its_type():
    for dtype in ("int16", "int32"):
        image, mask = voxel_variables(dtype)
        assert image.fill == np.iinfo(dtype).min == image.all_attributes()["_FillValue"]
        assert (mask.dtype, mask.fill) == ("uint8", 0)
        assert "_FillValue" not in mask.all_attributes()  # else xarray would make floats of it


def test_every_header_field_has_a_variable_and_every_variable_a_field():
    assert set(ACQUISITION.values()) | {"transfer_syntax"} == ACQUISITION_NAMES


def test_nothing_that_tells_on_a_patient_is_in_the_schema():
    words = ("name", "birth", "date", "time_of_day", "uid", "physician", "institution", "address")
    assert [v.name for v in SCAN_TABLES for word in words if word in v.name] == []


def test_aliases_are_written_as_they_are_compared_and_mean_one_field_each():
    aliases = [alias for field in CLINICAL for alias in field.aliases]
    assert len(aliases) == len(set(aliases))
    assert [alias for alias in (*aliases, *PATIENT_ALIASES, *SEQUENCE_ALIASES) if plain(alias) != alias] == []
    assert not set(aliases) & {*PATIENT_ALIASES, *SEQUENCE_ALIASES}
    assert all(plain(field.name) in field.aliases for field in CLINICAL)
