"""Words of commands, and lines of payloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haproxy.errors import InvalidValue
from haproxy.words import key_text, row_lines, value_text

TEXTS = st.text(st.sampled_from("aZ \n\x00\x7f#é\u2028;<\\"), max_size=5)


def refused(rows: dict[str, str]) -> bool:
    try:
        for key, value in rows.items():
            key_text(key)
            value_text(value)
    except InvalidValue:
        return True
    return False


@given(st.dictionaries(TEXTS, TEXTS, max_size=4))
def test_rows_are_checked_as_each_is(rows: dict[str, str]) -> None:
    if refused(rows):
        with pytest.raises(InvalidValue):
            row_lines(rows)
    else:
        assert row_lines(rows) == [f"{key} {value}\n" for key, value in rows.items()]
