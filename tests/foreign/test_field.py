"""What surroundings change: local graphs, those that pool, and those that were traced wrongly."""

import warnings

import numpy as np
import pytest

from geodamage.errors import GeodamageWarning
from geodamage.foreign import importing
from geodamage.foreign.importing import import_graphs
from geodamage.model.onnx import Model
from tests.foreign.graphs import convention, pooling, write_graph

ONE, FIVE = {"x": ["n", 6, "h", "w"]}, {"y": ["n", 5, "h", "w"]}


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch):
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)


def imported(source, told):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodamageWarning)
        (wrapped,) = import_graphs(
            [source], source.with_name(f"{source.stem}-model"), conventions=[str(told)]
        )
    return wrapped


def test_a_bounded_field_is_local(tmp_path):
    source = write_graph(tmp_path / "x.onnx", ONE, FIVE)
    wrapped = imported(source, convention(tmp_path / "c.toml"))
    assert wrapped.influence < 1e-5
    card = Model(wrapped.path, device="cpu").card
    assert (card.context, card.tile, card.halo) == ("local", 64, 8)


def test_a_field_wider_than_the_overlap_is_global(tmp_path):
    source = write_graph(tmp_path / "x.onnx", ONE, FIVE)
    told = convention(tmp_path / "c.toml", overlap="0", stride="1")
    # Nothing is cut off but the one pixel that is always read: a 3 x 3 convolution needs no more.
    assert imported(source, told).card.context == "local"
    wide = write_graph(tmp_path / "wide.onnx", ONE, FIVE, dilation=9)
    wrapped = imported(wide, convention(tmp_path / "d.toml"))
    assert (wrapped.card.context, wrapped.card.tile) == ("global", 64)
    assert wrapped.influence > 0.01


def test_a_mean_over_the_window_is_global(tmp_path):
    wrapped = imported(pooling(tmp_path / "x.onnx"), convention(tmp_path / "c.toml"))
    assert wrapped.card.context == "global"
    assert wrapped.influence > 1e-3
    assert np.isfinite(wrapped.influence)


def test_known_to_be_global_is_not_measured(tmp_path):
    source = write_graph(tmp_path / "x.onnx", ONE, FIVE)
    wrapped = imported(source, convention(tmp_path / "c.toml", context='"global"'))
    assert (wrapped.card.context, wrapped.influence) == ("global", None)


def test_a_graph_that_runs_on_its_tile_alone_keeps_it(tmp_path):
    source = pooling(tmp_path / "x.onnx", side=64)
    with pytest.warns(GeodamageWarning, match=r"not run on 32 pixels; .* fixed at its tile of 64"):
        (wrapped,) = import_graphs(
            [source], tmp_path / "model", conventions=[str(convention(tmp_path / "c.toml"))]
        )
    assert (wrapped.card.context, wrapped.card.tile) == ("global", 64)
    assert Model(wrapped.path, device="cpu").fixed_size == (64, 64)
