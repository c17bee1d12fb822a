import json

import pytest

from tests.conftest import listing, run_command


@pytest.fixture
def layer(pair, model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    path = folder / "b.gpkg"
    assert run_command("assess", *pair, "-o", path, "--model", model, "-q").exit_code == 0
    return path


@pytest.mark.slow
def test_report_writes_the_page_the_map_and_the_pdf(layer, pair, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    result = run_command(
        "report", layer, "--pre", pair.pre, "--post", pair.post, "-o", out / "r.html",
        "--map", out / "r.png", "--pdf", out / "r.pdf", "--safe-colours",
        "--title", "A storm", "--post-date", "2026-03-09",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("5 buildings; wrote ")
    names = ["r.html", "r.pdf", "r.png"]
    assert listing(out) == sorted(names + [f"{name}.json" for name in names])
    text = (out / "r.html").read_text("utf-8")
    assert 'data-palette="safe"' in text
    assert "<h1>A storm</h1>" in text
    assert "After · 2026-03-09" in text
    facts = json.loads((out / "r.html.json").read_text())
    assert facts["buildings"] == 5
    assert facts["statement"] == "preliminary, automatic, not validated in the field"


@pytest.mark.slow
def test_assess_writes_the_page_too(pair, model, tmp_path):
    page = tmp_path / "r.html"
    result = run_command(
        "assess", *pair, "-o", tmp_path / "b.geojson", "--model", model, "--report", page
    )
    assert result.exit_code == 0, result.stderr
    area = "b.geojson.assessed_area.geojson"
    assert listing(tmp_path) == ["b.geojson", area, "b.geojson.json", "r.html", "r.html.json"]
    assert 'id="before"' in page.read_text("utf-8")


@pytest.mark.slow
def test_nothing_is_overwritten_unasked(layer, tmp_path):
    old = tmp_path / "r.png"
    old.write_bytes(b"old")
    arguments = ("report", layer, "-o", tmp_path / "r.html", "--map", old)
    result = run_command(*arguments)
    assert result.exit_code == 6
    assert "r.png exists" in result.stderr
    assert old.read_bytes() == b"old"
    assert not (tmp_path / "r.html").exists()
    assert run_command(*arguments, "--overwrite").exit_code == 0
    assert old.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-o", "r.txt"], 2, "no format has the extension '.txt'"),
        (["-o", "r.html", "--map", "r.jpg"], 2, "no format has the extension '.jpg'"),
        (["-o", "r.html", "--post", "x.tif"], 2, "--post is given without --pre"),
        (["-o", "none/r.html"], 6, "there is no folder"),
        (["-o", "r.html", "--pre", "x.tif", "--post", "y.tif"], 4, "x.tif"),
        (["-o", "r.html", "--scale", "3"], 2, "--scale 3"),
    ],
)
def test_errors_are_one_line(layer, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    result = run_command("report", layer, *arguments)
    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert listing(tmp_path) == ["in"]


@pytest.mark.slow
def test_a_layer_without_sidecar_is_refused(layer, tmp_path):
    layer.with_name("b.gpkg.json").unlink()
    result = run_command("report", layer, "-o", tmp_path / "r.html")
    assert (result.exit_code, "no sidecar" in result.stderr) == (4, True)
