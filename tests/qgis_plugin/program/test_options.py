"""What the plugin offers is what `geodamage options --json` says."""

import json
from dataclasses import fields

import pytest
from click.testing import CliRunner
from geodamage_qgis.program import commands, exchange, learning

from geodamage.cli import main

OPTIONS = {
    command: {option["name"]: option for option in options}
    for command, options in json.loads(CliRunner().invoke(main, ["options", "--json"]).stdout)[
        "commands"
    ].items()
}
#: Of each command: its parameters here, those of them that are no options, and options that the
#: plugin gives itself or leaves out.
OFFERED = {
    "assess": (
        commands.AssessParameters,
        {"pre", "post"},
        {"post_bands", "post_only", "post_scale", "precision", "progress", "quiet", "verbose"},
    ),
    "buildings": (
        commands.BuildingsParameters,
        {"image"},
        {"precision", "tta_scales", "progress", "quiet", "verbose"},
    ),
    "batch": (
        commands.BatchParameters,
        {"manifest"},
        {"admin_name", "dask", "dask_local", "dry_run", "max_cloud", "population",
         "post_bands", "post_only", "post_scale", "precision", "progress", "quiet", "shard",
         "split_scenes", "verbose"},
    ),
    "score": (
        commands.ScoreParameters,
        {"predictions", "targets"},
        {"buildings", "threshold", "aoi", "gsd", "json", "quiet"},
    ),
    "masks": (commands.MasksParameters, {"labels"}, {"quiet"}),
    # `for` is a word of Python: the plugin calls it `purpose`.
    "sample": (
        learning.SampleParameters,
        {"results", "purpose"},
        {"areas", "cell", "for", "quiet"},
    ),
    "estimate": (learning.EstimateParameters, {"results"}, {"json", "quiet"}),
    # Features are found beside the result.
    "adapt": (learning.AdaptParameters, {"results"}, {"answers", "features", "json", "quiet"}),
    "regrade": (learning.RegradeParameters, {"result"}, {"features", "quiet"}),
    "export": (exchange.ExportParameters, {"result"}, {"quiet"}),
    "compare": (exchange.CompareParameters, {"result", "official"}, {"json", "quiet"}),
    "event": (exchange.EventParameters, {"results"}, {"json", "quiet"}),
    "models import": (exchange.ImportParameters, {"files"}, {"install"}),
}  # fmt: skip


@pytest.mark.parametrize("command", OFFERED)
def test_the_plugin_offers_the_options_of_the_tool(command):
    kind, arguments, left_out = OFFERED[command]
    offered = {field.name for field in fields(kind)} - arguments
    assert offered | left_out == OPTIONS[command].keys()
    assert not offered & left_out


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("assess", "tta", commands.TTA_CHOICES),
        ("batch", "tta", commands.TTA_CHOICES),
        ("buildings", "tta", commands.BUILDINGS_TTA_CHOICES),
        ("assess", "vote", commands.VOTE_CHOICES),
        ("assess", "post_sensor", commands.SENSOR_CHOICES),
        ("assess", "registration", commands.REGISTRATION_CHOICES),
        ("batch", "obscured", commands.OBSCURED_CHOICES),
        ("masks", "unclassified", commands.UNCLASSIFIED_CHOICES),
        ("buildings", "engine", commands.ENGINE_CHOICES),
        ("sample", "design", learning.DESIGN_CHOICES),
        ("sample", "for", learning.PURPOSE_CHOICES),
        ("estimate", "conflicts", learning.CONFLICT_CHOICES),
        ("export", "schema", exchange.SCHEMA_CHOICES),
        ("export", "geometry", exchange.GEOMETRY_CHOICES),
        ("export", "geoparquet", exchange.GEOPARQUET_CHOICES),
        ("compare", "schema", exchange.OFFICIAL_CHOICES),
        ("compare", "unlisted", exchange.UNLISTED_CHOICES),
    ],
)
def test_choices_are_those_of_the_tool_and_the_default_is_the_first(command, name, words):
    option = OPTIONS[command][name]
    assert list(words) == option["choices"]
    assert words[0] == option["default"]
