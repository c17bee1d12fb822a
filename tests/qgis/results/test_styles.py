import re

import pytest
from geodamage_qgis import scale
from geodamage_qgis.results.layers import STYLE_FILES, STYLES
from qgis.core import (
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsFeature,
    QgsFillSymbol,
    QgsGeometry,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsPalLayerSettings,
    QgsRectangle,
    QgsRuleBasedRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor

GRADES = tuple(scale.CLASSES)
FIELDS = (
    "building_id:string", "damage:string", "damage_class:integer", "p_none:double",
    "p_minor:double", "p_major:double", "p_destroyed:double", "confidence:double",
    "damage_score:double", "damaged:boolean", "status:string", "status_reason:string",
    "valid_fraction:double", "area_m2:double", "lon:double", "lat:double", "source:string",
)  # fmt: skip
REVIEW = ("reviewed_damage:string", "reviewer:string", "reviewed_at:string")


def make_layer(*features, review=False):
    """Return a layer of squares in a row, 10 m wide, each with some attributes."""
    fields = "&".join(f"field={field}" for field in FIELDS + (REVIEW if review else ()))
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32616&{fields}", "squares", "memory")
    for place, attributes in enumerate(features):
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(place * 10, 0, place * 10 + 10, 10)))
        for name, value in attributes.items():
            feature[name] = value
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    return layer


def assessed(damage, status="assessed", **others):
    shares = {name: 0.7 if grade == damage else 0.1 for grade, name in scale.PROBABILITIES.items()}
    return {"damage": damage, "confidence": 0.7, "status": status, **shares, **others}


NOT_ASSESSED = {"building_id": "x", "status": "not_assessed", "status_reason": "nodata_post"}


def apply(layer, file):
    message, loaded = layer.loadNamedStyle(str(STYLES / file))
    assert loaded, message
    return layer


def rules_of(layer, feature):
    """Return the titles of the rules that draw a feature."""
    renderer = layer.renderer()
    assert isinstance(renderer, QgsRuleBasedRenderer)
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    found = []
    for rule in renderer.rootRule().children():
        expression = QgsExpression(rule.filterExpression())
        assert not expression.hasParserError(), expression.parserErrorString()
        if expression.evaluate(context):
            found.append(rule.label())
        assert not expression.hasEvalError(), expression.evalErrorString()
    return found


def render(layer):
    """Return the picture of a layer of squares, 40 pixels each, on black."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setExtent(layer.extent())
    settings.setOutputSize(QSize(40 * layer.featureCount(), 40))
    settings.setBackgroundColor(QColor("black"))
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage()


@pytest.mark.parametrize("file", STYLE_FILES.values())
def test_every_grade_and_status_is_drawn_by_the_rule_of_its_name(project, file):
    partial = assessed("destroyed", "partial", status_reason="outside_post")
    layer = apply(make_layer(*map(assessed, GRADES), partial, NOT_ASSESSED), file)
    found = [rules_of(layer, feature) for feature in layer.getFeatures()]
    titles = [[title] for title in scale.TITLES.values()]
    assert found == [*titles, ["destroyed", "seen in part"], ["not assessed"]]


def test_a_reviewed_grade_takes_the_place_of_the_models(project):
    features = [
        assessed("no-damage", reviewed_damage="destroyed"),
        assessed("no-damage", reviewed_damage=""),
        {**NOT_ASSESSED, "reviewed_damage": "major-damage"},
    ]
    layer = apply(make_layer(*features, review=True), "damage.qml")
    found = [rules_of(layer, feature) for feature in layer.getFeatures()]
    assert found == [["destroyed", "reviewed"], ["no damage"], ["major damage", "reviewed"]]


def test_rules_have_the_colours_of_the_scale(project):
    layer = apply(make_layer(assessed("destroyed")), "damage.qml")
    colours = {}
    for rule in layer.renderer().rootRule().children():
        assert isinstance(rule.symbol(), QgsFillSymbol)
        colours[rule.label()] = rule.symbol().symbolLayers()[-1].color().name()
    for grade, title in scale.TITLES.items():
        assert colours[title] == scale.COLOURS[grade]
    assert colours["not assessed"] == scale.COLOUR_NOT_ASSESSED


def test_the_picture_shows_the_colours(project):
    layer = apply(make_layer(*map(assessed, GRADES)), "damage.qml")
    layer.setLabelsEnabled(False)
    picture = render(layer)
    for place, grade in enumerate(GRADES):
        drawn, full = picture.pixelColor(40 * place + 20, 20), QColor(scale.COLOURS[grade])
        # Three quarters of the colour lie over the black: the roof shows through.
        for part in ("red", "green", "blue"):
            assert abs(getattr(drawn, part)() - 0.75 * getattr(full, part)()) < 4


def test_what_was_not_assessed_is_drawn_hatched(project):
    layer = apply(make_layer(NOT_ASSESSED, assessed("no-damage")), "damage.qml")
    layer.setLabelsEnabled(False)
    picture = render(layer)
    inner = range(10, 30)
    hatched = {picture.pixelColor(x, 20).name() for x in inner}
    plain = {picture.pixelColor(40 + x, 20).name() for x in inner}
    assert len(plain) == 1
    assert len(hatched) > 2


def test_labels_say_how_sure_the_model_is(project):
    layer = apply(make_layer(assessed("destroyed"), NOT_ASSESSED), "damage.qml")
    settings = layer.labeling().settings()
    assert layer.labelsEnabled()
    assert settings.scaleVisibility
    expression = QgsExpression(settings.fieldName)
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    found = []
    for feature in layer.getFeatures():
        context.setFeature(feature)
        found.append(expression.evaluate(context))
        assert not expression.hasEvalError(), expression.evalErrorString()
    assert found == ["sure 70 %", ""]
    # Beside the building, and off other buildings.
    assert settings.placement == QgsPalLayerSettings.OutsidePolygons
    assert settings.obstacleSettings().isObstacle()


@pytest.mark.parametrize("review", [False, True])
def test_map_tips_have_every_probability(project, review):
    said = {"reviewed_damage": "no-damage", "reviewer": "Ada"} if review else {}
    layer = make_layer(assessed("major-damage", **said), NOT_ASSESSED, review=review)
    apply(layer, "damage.qml")
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    tips = []
    for feature in layer.getFeatures():
        context.setFeature(feature)
        tips.append(QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context))
    assert "[%" not in "".join(tips)
    assert tips[0].count("10&nbsp;%") == 3
    assert "70&nbsp;%" in tips[0]
    assert ("reviewed by Ada; the model said major damage" in tips[0]) == review
    assert "<b>not assessed</b>" in tips[1]
    assert "no data in the image after" in tips[1]
    assert "█" not in tips[1]  # there are no probabilities


def test_bars_of_map_tips_are_as_long_as_their_share_and_no_tables(project):
    layer = apply(make_layer(assessed("major-damage")), "damage.qml")
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(next(layer.getFeatures()))
    tip = QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context)
    assert "<table" not in tip  # drawn 20 pixels wide by builds without a browser
    lengths = [len(blocks) for blocks in re.findall(r">(█*)</span>", tip)]
    assert lengths == [1, 11, 1, 11, 8, 4, 1, 11]


def test_colours_survive_a_filled_layer_below(project):
    """A surface that lets half of another through made destroyed look like major damage."""
    from geodamage_qgis.scale import COLOURS

    def distance(one, other):
        parts = ("red", "green", "blue")
        return sum((getattr(one, p)() - getattr(other, p)()) ** 2 for p in parts)

    colours = {grade: QColor(colour) for grade, colour in COLOURS.items()}
    layer = apply(make_layer(), "damage.qml")
    rules = layer.renderer().rootRule().children()
    for below in (QColor("#ffd000"), QColor("#8bc34a"), QColor("#e8718d")):
        for rule, grade in zip(rules, colours, strict=False):
            fill = rule.symbol().symbolLayer(0).fillColor()
            share = fill.alphaF()
            mixed = QColor(*(
                round(share * getattr(fill, p)() + (1 - share) * getattr(below, p)())
                for p in ("red", "green", "blue")
            ))  # fmt: skip
            assert min(colours, key=lambda other: distance(mixed, colours[other])) == grade


def test_the_form_is_in_groups_and_cannot_change_what_the_model_said(project):
    layer = apply(make_layer(assessed("destroyed"), review=True), "damage.qml")
    form = layer.editFormConfig()
    groups = [group.name() for group in form.tabs()]
    assert groups == ["Grade", "Probabilities", "Review", "Building"]
    assert all(form.readOnly(index) for index in range(len(layer.fields())))
    probability = layer.fields().lookupField("p_none")
    assert layer.attributeAlias(probability) == "p(no damage)"
    widget = layer.editorWidgetSetup(layer.fields().lookupField("reviewed_damage"))
    assert widget.type() == "ValueMap"


@pytest.mark.parametrize("review", [False, True])
def test_the_form_opens(project, review):
    from qgis.gui import QgsAttributeForm, QgsGui

    QgsGui.editorWidgetRegistry().initEditors()  # the desktop does it at its start
    layer = apply(make_layer(assessed("destroyed"), review=review), "damage.qml")
    form = QgsAttributeForm(layer, next(layer.getFeatures()))
    assert form.feature()["damage"] == "destroyed"
    form.deleteLater()
