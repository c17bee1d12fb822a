import click
import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.learning import (
    MODEL_END,
    SAMPLE_END,
    AdaptParameters,
    EstimateParameters,
    RegradeParameters,
    SampleParameters,
    adapt_command,
    adapt_html,
    beside,
    estimate_command,
    estimate_html,
    read_figures,
    regrade_command,
    sample_command,
)

from geodamage.cli import main


def understood(argv: list[str]) -> dict[str, str]:
    """Return what the tool's own command line makes of a command."""
    name, *words = argv[1:]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    given = command.make_context(name, words).params
    return {key: str(value) for key, value in given.items()}


def test_the_tool_understands_a_sample():
    asked = SampleParameters(
        ["-odd.gpkg", "b.gpkg"], "s.gpkg", 60, "simple", "adapt", 0.5, 3, "a.gpkg", "NAME", True
    )
    given = understood(sample_command("geodamage", asked))
    assert (given["number"], given["design"], given["purpose"]) == ("60", "simple", "adapt")
    assert (given["estimate_share"], given["seed"]) == ("0.5", "3")
    assert (given["by"], given["admin_name"], given["overwrite"]) == ("a.gpkg", "NAME", "True")
    assert "-odd.gpkg" in given["results"]


def test_the_tool_understands_an_estimate():
    asked = EstimateParameters(
        ["b.gpkg"], "s.gpkg", ["a.csv", "j.jsonl"], "worst", "a.gpkg", "NAME", "c.gpkg", "e.json",
        True,
    )  # fmt: skip
    given = understood(estimate_command("geodamage", asked))
    assert (given["reviewed"], given["conflicts"], given["as_json"]) == ("s.gpkg", "worst", "True")
    assert "a.csv" in given["answers"]
    assert "j.jsonl" in given["answers"]
    assert (given["areas"], given["output"], given["by"]) == ("c.gpkg", "e.json", "a.gpkg")


def test_the_tool_understands_learning_and_grading_anew():
    given = understood(
        adapt_command("geodamage", AdaptParameters(["b.gpkg"], "s.gpkg", "m.toml", True, True))
    )
    assert (given["reviewed"], given["output"], given["force"]) == ("s.gpkg", "m.toml", "True")
    given = understood(
        regrade_command("geodamage", RegradeParameters("b.gpkg", "m.toml", "r.gpkg", True))
    )
    assert "b.gpkg" in given["results"]
    assert (given["model"], given["output"]) == ("m.toml", "r.gpkg")


def test_files_lie_beside_the_result_also_when_seen_from_the_sample(tmp_path):
    result = tmp_path / "b.gpkg"
    sample = beside(result, SAMPLE_END)
    assert sample == tmp_path / "b_sample.gpkg"
    assert beside(sample, MODEL_END) == beside(result, MODEL_END)


def test_totals_are_told_with_their_intervals():
    total = {"total": 12.4, "low": 7.0, "high": 2000.0, "predicted": 11}
    page = estimate_html({"damaged": total, "destroyed": total, "says": "Only <so> far."})
    assert "<b>12</b>" in page
    assert "7–2,000" in page
    assert "Only &lt;so&gt; far." in page


def test_what_learning_gained_is_told_and_what_is_not_defined_is_a_dash():
    figures = {"auc": [0.7, 0.6, 0.8], "kappa": [float("nan")] * 3, "log_loss": None}
    page = adapt_html({"before": figures, "after": figures, "gain": {"auc": [0.1, -0.02, 0.2]}})
    assert "<b>0.70</b>" in page
    assert "-0.02&nbsp;to&nbsp;+0.20" in page
    assert page.count("–") >= 3


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_what_is_no_figures_is_an_error(text):
    with pytest.raises(PluginError, match="update geodamage"):
        read_figures(text)
