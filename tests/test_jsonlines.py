"""The encoder made once writes what the standard library's writes."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.jsonlines import encoder

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_as_the_library_does(value, sort):
    theirs = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort)
    assert encoder(sort_keys=sort)(value) == theirs


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}])
def test_what_is_no_json_is_refused_where_it_was_asked_to(value):
    with pytest.raises(ValueError, match="JSON"):
        encoder(allow_nan=False)(value)


def test_other_values_go_through_default():
    assert encoder()({"a": complex(1)}) == '{"a":"(1+0j)"}'
    assert encoder(default=lambda value: sorted(value))({3, 1}) == "[1,3]"


def test_an_error_leaves_the_encoder_usable():
    encode = encoder(allow_nan=False)
    with pytest.raises(ValueError):
        encode([math.nan])
    assert encode([1.5]) == "[1.5]"
