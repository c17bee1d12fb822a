from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.options.kinds import (
    LARGEST,
    Bands,
    Choice,
    Device,
    File,
    Flag,
    Folder,
    Name,
    Number,
    Numbers,
    Size,
    Span,
    Text,
    Whole,
)


@pytest.mark.parametrize(
    ("kind", "given", "read"),
    [
        (Text(), " a ", " a "),
        (Text(), 7, "7"),
        (Flag(), True, True),
        (File(), "a/b.tif", Path("a/b.tif")),
        (File(), Path("a"), Path("a")),
        (Name(), Path("m.onnx"), "m.onnx"),
        (Name(), "fast", "fast"),
        (Device(), "cuda:3", "cuda:3"),
        (Choice(("a", "b")), "b", "b"),
        (Number(0), "1e-3", 0.001),
        (Number(0), np.float32(2), 2.0),
        (Number(0, below=1), 0, 0.0),
        (Whole(), "3", 3),
        (Whole(), np.int64(3), 3),
        (Whole(0), 2.0, 2),
        (Bands(), "3, 2 1", (3, 2, 1)),
        (Bands(), [3, 2.0], (3, 2)),
        (Span(), "-5.5 2000", (-5.5, 2000.0)),
        (Span(), (0, 1), (0.0, 1.0)),
        (Numbers(Number(0.1, 10)), "0.5,2", (0.5, 2.0)),
        (Size(), "1.5GB", 1.5e9),
        (Size(), " 800 mb ", 8e8),
        (Size(), "2e9", 2e9),
        (Size(), 2**30, float(2**30)),
        (Size(), "64B", 64.0),
    ],
)
def test_texts_and_values_are_read_alike(kind, given, read):
    value = kind.read(given)
    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    ("kind", "given", "remedy"),
    [
        (Text(), True, "give a text"),
        (Text(), "a\0", "give a text"),
        (Flag(), "yes", "give True or False"),
        (Flag(), 1, "give True or False"),
        (File(), "", "give the path of a file"),
        (File(), b"a.tif", "give the path of a file"),
        (File(), "a\0b", "give the path of a file"),
        (Folder(), None, "give the path of a folder"),
        (Name(), 5, "give a name or a path"),
        (Device(), "cuda:", "give auto, cpu, cuda or cuda:N"),
        (Device(), "cpu:0", "give auto"),
        (Device(), "cuda:٣", "give auto"),
        (Choice(("a", "b", "c")), "d", "give a, b or c"),
        (Choice(("a", "b")), ["a"], "give a or b"),
        (Number(0), -1, "give a number that is not negative"),
        (Number(0), "nan", "give a number"),
        (Number(0), float("inf"), "give a number"),
        (Number(0), True, "give a number"),
        (Number(0), 10**400, "give a number"),
        (Number(0, below=1), 1, "give 0 or more, and less than 1"),
        (Number(10, 100_000), 1, "give a number from 10 to 100,000"),
        (Whole(), 0, "give a whole number, 1 or more"),
        (Whole(), 1.5, "give a whole number, 1 or more"),
        (Whole(), LARGEST + 1, "give a smaller number"),
        (Bands(), "", "counted from 1"),
        (Bands(), "0,1", "give a whole number, 1 or more"),
        (Bands(), 3, "separated by commas"),
        (Span(), "5", "MIN below MAX"),
        (Span(), (5, 5), "MIN below MAX"),
        (Numbers(Number(0.1, 10)), "1,x", "give numbers from 0.1 to 10"),
        (Numbers(Number(0.1, 10)), (), "give numbers from 0.1 to 10"),
        (Size(), "GB", "write 1.5GB or 800MB"),
        (Size(), "much", "write 1.5GB or 800MB"),
        (Size(), 0, "write 1.5GB or 800MB"),
        (Size(), "9e9TB", "write 1.5GB or 800MB"),
        (Size(), None, "write 1.5GB or 800MB"),
    ],
)
def test_what_is_of_another_kind_is_refused(kind, given, remedy):
    with pytest.raises(ValueError, match=remedy):
        kind.read(given)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.floats() | st.text()),
    st.from_regex(r"[0-9., ]+[KMGT]?B?", fullmatch=True),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [Text(), Flag(), File(), Folder(), Name(), Device(), Choice(("a", "b")), Number(0, 5), Whole(),
     Bands(), Span(), Numbers(Number(0, 5)), Size()],
    ids=lambda kind: kind.type,
)  # fmt: skip
@given(value=ANYTHING)
def test_a_value_is_read_or_refused_and_stays_what_it_was_read_as(kind, value):
    # A job is checked again when one of its fields is replaced.
    try:
        read = kind.read(value)
    except ValueError:
        return
    assert kind.read(read) == read
