"""Damaged files of every kind: a reader gives a result or a SourceError, soon and without a word on the terminal."""

import logging

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from npczarr.errors import SourceError
from tests.hostile.corpus import INTERESTING, KINDS, ask, damage, requests

places = st.floats(0, 1, exclude_max=True)
near_the_head = places.map(lambda place: place**3)
edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "write", "insert", "cut", "drop", "repeat", "splice"]),
        places | near_the_head,
        places | near_the_head,
        st.sampled_from(INTERESTING) | st.binary(min_size=1, max_size=6) | st.sampled_from([b"\x01", b"\x80"]),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_are_read(kind, tmp_path):
    for content in KINDS[kind].examples():
        KINDS[kind].read(KINDS[kind].pack(content), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 99), st.integers(0, 99), edits)
@example(0, 0, [("cut", 0.0, 0.0, b"\0")])
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_a_result_or_a_source_error(kind, tmp_path, caplog, which, other, damages):
    reader = KINDS[kind]
    examples = reader.examples()
    content = damage(examples[which % len(examples)], damages, examples[other % len(examples)])
    said = "as long as it is"
    with caplog.at_level(logging.WARNING):
        try:
            reader.read(reader.pack(content), tmp_path)
        except SourceError as error:
            said = str(error)
    assert 10 < len(said) < 2000
    assert not [record for record in caplog.records if record.name.startswith(("nibabel", "tifffile"))]


@pytest.mark.slow
def test_a_request_that_is_cut_off_prints_no_traceback(capfd, tmp_path):
    *_, marks = requests()
    for end in (30, len(marks) - 10, len(marks)):
        ask(marks[:end], tmp_path)
    assert "Traceback" not in capfd.readouterr().err
