import onnx
import pytest

from geodamage.model.graph import Graph
from geodamage.model.loading import find_model
from geodamage.model.stages import split_in_stages
from tests.fakes import pointwise_bytes
from tests.siamese import siamese_bytes, strided_bytes, strided_nodes


def test_each_stage_sees_little_around_what_it_gives():
    stages = split_in_stages(strided_bytes(), "m.onnx")
    assert [(s.takes, s.gives, s.step, s.margin) for s in stages.seeing] == [
        (("pre",), ("fine",), 2, 2),
        (("fine",), ("sum",), 4, 8),
        (("sum",), ("active",), 4, 4),
    ]
    assert stages.finding.takes == ("fine", "active")
    assert stages.finding.gives == ("localisation", "seen")
    assert stages.grading.takes == ("fine", "active", "before")
    # Grading sees a cell of 2, so finding sees 2 more, and all of each cell of 4 that it meets.
    assert stages.finding.margin == stages.grading.margin == 4
    assert [stage.steps for stage in stages.all] == [(2,), (4,), (4,), (1, 2), (1,)]


def test_every_stage_is_a_graph_with_what_it_needs_alone():
    stages = split_in_stages(strided_bytes(), "m.onnx")
    for stage in stages.all:
        model = onnx.load_from_string(stage.graph)
        onnx.checker.check_model(model, full_check=True)
        assert [port.name for port in model.graph.input] == [*stage.takes]
        assert [port.name for port in model.graph.output] == [*stage.gives]


def changed(name, **attributes):
    """Return the operators with other attributes of one of them."""
    nodes = strided_nodes()
    (node,) = (n for n in nodes if n.output[0] == name)
    kept = [a for a in node.attribute if a.name not in attributes]
    del node.attribute[:]
    node.attribute.extend([*kept, *(onnx.helper.make_attribute(*a) for a in attributes.items())])
    return nodes


def pooled():
    nodes = strided_nodes()
    place = next(n for n, node in enumerate(nodes) if node.output[0] == "branch")
    nodes[place] = onnx.helper.make_node("GlobalAveragePool", ["coarse"], ["branch"])
    return nodes


@pytest.mark.parametrize(
    "blob",
    [
        pointwise_bytes(),
        siamese_bytes(),
        strided_bytes(pooled()),
        strided_bytes(changed("branch", pads=[2, 2, 0, 0])),
        strided_bytes(changed("wide", mode="linear")),
        strided_bytes(changed("wide", coordinate_transformation_mode="half_pixel")),
        b"no model",
    ],
    ids=["alone", "one step", "pooled", "uneven", "linear", "half a pixel", "text"],
)
def test_what_is_not_known_to_see_little_has_no_stages(blob):
    assert split_in_stages(blob, "m.onnx") is None


@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_the_bundled_models_have_stages(name):
    stages = split_in_stages(find_model(name).read_bytes(), name)
    assert [stage.margin for stage in stages.all] == [40, 32, 16, 64, 32, 32, 32]
    assert [stage.step for stage in stages.seeing] == [8, 16, 16, 16, 16]


def test_attributes_and_scales_of_a_graph_are_read():
    graph = Graph.read(strided_bytes(), "m.onnx")
    node = next(node for node in graph.nodes if node.outputs == ("fine",))
    assert (node.numbers("strides"), node.numbers("group")) == ((2, 2), ())
    resize = next(node for node in graph.nodes if node.kind == "Resize")
    assert (resize.text("mode"), resize.text("absent")) == ("nearest", None)
    assert graph.scale("scale") == (1, 1, 2, 2)
    assert graph.scale("zero") is None
    assert graph.scale("fine") is None
