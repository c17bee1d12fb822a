import click
from geodamage_qgis.program.exchange import (
    CompareParameters,
    EventParameters,
    ExportParameters,
    ImportParameters,
    compare_command,
    compare_html,
    event_command,
    export_command,
    import_command,
)

from geodamage.cli import main


def understood(argv: list[str]) -> dict[str, str]:
    """Return what the tool's own command line makes of a command."""
    command, words = main, argv[1:]
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None
        command, words = found, words[1:]
    given = command.make_context("geodamage", words).params
    return {key: str(value) for key, value in given.items()}


def test_the_tool_understands_an_export():
    asked = ExportParameters(
        "-b.gpkg", "b.kmz", "cems", True, "point", max_features=50, min_zoom=9, max_zoom=12
    )
    given = understood(export_command("geodamage", asked))
    assert (given["result"], given["output"]) == ("-b.gpkg", "b.kmz")
    assert (given["schema"], given["labels"], given["geometry"]) == ("cems", "True", "point")
    assert (given["max_features"], given["min_zoom"], given["max_zoom"]) == ("50", "9", "12")


def test_the_tool_understands_a_comparison():
    asked = CompareParameters("b.gpkg", "o.json", None, "unosat", 8.5, "unknown", "a.gpkg", 2)
    given = understood(compare_command("geodamage", asked))
    assert (given["result"], given["official"]) == ("b.gpkg", "o.json")
    assert (given["schema"], given["tolerance"], given["unlisted"]) == ("unosat", "8.5", "unknown")
    assert (given["within"], given["epoch"], given["as_json"]) == ("a.gpkg", "2", "True")


def test_the_tool_understands_an_event():
    asked = EventParameters(["b.gpkg", "batch"], "e.gpkg", admin="a.gpkg", cell=200, update=True)
    given = understood(event_command("geodamage", asked))
    assert "b.gpkg" in given["sources"]
    assert "batch" in given["sources"]
    assert (given["output"], given["cell"], given["update"]) == ("e.gpkg", "200.0", "True")


def test_the_tool_understands_an_import():
    asked = ImportParameters(["a.onnx"], "models/mine", "CC BY 4.0", "deepness")
    given = understood(import_command("geodamage", asked))
    assert (given["output"], given["licence"]) == ("models/mine", "CC BY 4.0")
    assert "deepness" in given["conventions"]


def test_an_agreement_is_told_with_its_interval():
    kappa = {"value": 0.712, "low": 0.6, "high": 0.8}
    names = ["no-damage", "destroyed"]
    figures = {
        "compared": 1200,
        "damaged": {"kappa": kappa, "same": {"value": None}},
        "grades": {"names": names, "counts": [[1000, 50], [30, 120]]},
        "warnings": ["<odd>"],
    }
    page = compare_html(figures)
    assert "kappa</td><td align='right'><b>0.71</b></td><td>&nbsp;0.60–0.80" in page
    assert "same answer</td><td align='right'><b>–</b>" in page
    assert "1,200 buildings were compared" in page
    assert "<td>destroyed</td><td align=right>30</td><td align=right>120</td>" in page
    assert "&lt;odd&gt;" in page


def test_two_answers_have_no_table_of_grades():
    assert compare_html({}).count("<table") == 1
