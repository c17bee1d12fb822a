import re

import numpy as np
import pytest
import rasterio

from geodamage import Job, load_model
from geodamage.errors import OptionError
from geodamage.output.publication import read_sidecar
from tests.assessments import comparable, in_pixels, run, write_footprints
from tests.conftest import (
    POST_VALUE,
    ROOFS,
    Roof,
    make_arrays,
    make_model,
    make_raster,
    run_command,
)


def write_first_place(folder, *, extra="", dilation=5, **card):
    """Write an ensemble with the rules of the xView2 first place: one member for each head."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("where", "what"):
        make_model(folder / f"{name}.onnx", name=name, **card)
    path = folder / "first.toml"
    path.write_text(
        f"{extra}\n[pixels]\nthresholds = [0.38, 0.13, 0.13, 0.14]\ndilation = {dilation}\n"
        'dilation_covers = "intended"\n'
        '[[member]]\nfile = "where.onnx"\nheads = ["localisation"]\n'
        '[[member]]\nfile = "what.onnx"\nheads = ["damage"]\n'
        'flips = ["none", "vertical"]\n'
    )
    return path


#: A pre value that the model takes for a building with a probability of 0.22: between the
#: thresholds of no-damage and of the other grades.
FAINT = 105


def faint_pair(folder):
    """Write a faint building of each grade, and one of grades 1, 2 and 3 side by side."""
    pre, post = make_arrays((128, 160), [])
    for n, value in POST_VALUE.items():
        box = slice(10, 26), slice(10 + 30 * (n - 1), 30 + 30 * (n - 1))
        pre[:, *box], post[:, *box] = FAINT, value
    pre[:, 60:90, 40:100] = 250
    for n in (1, 2, 3):
        post[:, 60:90, 20 + 20 * n : 40 + 20 * n] = POST_VALUE[n]
    folder.mkdir(parents=True, exist_ok=True)
    pair = [make_raster(folder / f"{n}.tif", a) for n, a in (("pre", pre), ("post", post))]
    return pair, pre, post


def grades_in(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--tile", 48], ["--tile", 64, "--batch-size", 3]])
def test_a_raster_of_an_ensemble_with_rules_holds_the_grades_of_pixels(tmp_path, options):
    path = write_first_place(tmp_path / "m")
    pair, pre, post = faint_pair(tmp_path / "in")
    run(pair, tmp_path / "b.gpkg", path, "--raster", tmp_path / "r.tif", *options)
    ensemble = load_model(path, device="cpu")
    localisation, damage = ensemble(pre[None], post[None])
    expected = ensemble.rules.grades(localisation[0, 0], damage[0])
    found = grades_in(tmp_path / "r.tif")
    assert np.array_equal(found, expected)
    middles = [found[18, 20 + 30 * n] for n in range(4)]
    assert middles == [0, 2, 3, 4]
    assert set(found[75, 40:58]) == {1}
    assert set(found[75, 58:80]) == {2}
    assert set(found[75, 80:100]) == {3}
    facts = read_sidecar(tmp_path / "r.tif")
    assert facts["pixels"] == {
        "own": True,
        "thresholds": [0.38, 0.13, 0.13, 0.14],
        "dilation": 5,
        "dilation_covers": "intended",
        "background_competes": False,
    }
    assert facts["vote"] == "probabilities"


@pytest.mark.slow
def test_pixels_vote_where_probabilities_would_not_find_a_building(tmp_path):
    path = write_first_place(tmp_path / "m", extra="threshold = 0.4\ntemperature = 3.0")
    pair, _, _ = faint_pair(tmp_path / "in")
    by_probability = run(pair, tmp_path / "a.gpkg", path)
    frame = run(pair, tmp_path / "b.gpkg", path, "--vote", "pixels", "--raster", tmp_path / "r.tif")
    # The faint ones are under the one threshold; of three pixels by their own.
    assert len(by_probability) == 1
    assert sorted(frame["damage_class"]) == [2, 2, 3, 4]
    grades = grades_in(tmp_path / "r.tif")
    for row in frame.itertuples():
        (box,) = in_pixels(frame[frame["building_id"] == row.building_id])
        pixels = grades[box.row : box.row + box.height, box.column : box.column + box.width]
        shares = np.bincount(pixels[pixels > 0], minlength=5)[1:] / (pixels > 0).sum()
        p = [row.p_none, row.p_minor, row.p_major, row.p_destroyed]
        assert p == pytest.approx(shares.tolist(), abs=1e-4)
        assert row.confidence == max(p)
    wide = frame[frame["area_m2"] > 300].iloc[0]
    # Minor damage has grown by two columns into no-damage, which alone makes it the most.
    assert (wide["p_none"], wide["p_minor"]) == pytest.approx((18 / 60, 22 / 60), abs=5e-3)
    facts = read_sidecar(tmp_path / "b.gpkg")
    assert facts["vote"] == "pixels"
    assert facts["thresholds"]["localisation"] is None
    assert facts["thresholds"]["temperature"] == 1


@pytest.mark.slow
def test_votes_of_pixels_do_not_depend_on_the_tile(tmp_path):
    path = write_first_place(tmp_path / "m")
    pair, _, _ = faint_pair(tmp_path / "in")
    expected = run(pair, tmp_path / "a.gpkg", path, "--vote", "pixels")
    found = run(pair, tmp_path / "b.gpkg", path, "--vote", "pixels", "--tile", 48)
    assert comparable(found).equals(comparable(expected))


@pytest.mark.slow
def test_footprints_are_voted_on_by_pixels(tmp_path):
    path = write_first_place(tmp_path / "m")
    pair, _, _ = faint_pair(tmp_path / "in")
    # The faint house without damage is no building by the rules; a footprint says that it is one.
    faint, wide = Roof(10, 10, 16, 20, 1), Roof(60, 40, 30, 42, 2)
    footprints = write_footprints(tmp_path / "f.gpkg", ["a", "b"], [faint.polygon, wide.polygon])
    options = "--footprints", footprints, "--vote", "pixels"
    frame = run(pair, tmp_path / "b.gpkg", path, *options).set_index("building_id")
    assert frame.loc["a", "damage_class"] == 1
    assert frame.loc["a", "p_none"] == pytest.approx(1, abs=1e-4)
    # 20 columns of each grade and two of major damage: minor damage has taken two of no-damage.
    assert frame.loc["b", "damage_class"] == 2
    wanted = pytest.approx([18 / 42, 22 / 42, 2 / 42], abs=1e-4)
    assert frame.loc["b", ["p_none", "p_minor", "p_major"]].to_list() == wanted


@pytest.mark.slow
def test_pixels_of_a_plain_model_vote_by_its_threshold(pair, model, found, tmp_path):
    raster = tmp_path / "r.tif"
    frame = run(pair, tmp_path / "b.gpkg", model, "--vote", "pixels", "--raster", raster)
    assert in_pixels(frame) == in_pixels(found)
    assert set(frame["confidence"]) == {1.0}
    assert read_sidecar(raster)["pixels"]["own"] is False
    assert set(np.unique(grades_in(raster))) == {0, 1, 2, 3, 4}


@pytest.mark.slow
def test_the_raster_of_probabilities_does_not_depend_on_the_vote(pair, model, tmp_path):
    rasters = []
    for vote in ("probabilities", "pixels"):
        rasters.append(tmp_path / f"{vote}.tif")
        output = tmp_path / f"{vote}.gpkg"
        run(pair, output, model, "--probabilities", rasters[-1], "--vote", vote)
    values = []
    for path in rasters:
        with rasterio.open(path) as dataset:
            values.append(dataset.read())
    assert np.array_equal(*values)
    assert set(np.unique(values[0])) > {0, 250}


@pytest.mark.slow
def test_the_tile_of_a_global_ensemble_is_refused_with_the_reason(pair, tmp_path):
    path = write_first_place(tmp_path / "m", context="global")
    result = run_command(
        "assess", *pair, "-o", tmp_path / "b.gpkg", "--model", path, "--tile", 64
    )  # fmt: skip
    assert result.exit_code == 2
    assert "sees its whole window at once" in result.stderr
    frame = run(pair, tmp_path / "b.gpkg", path)
    assert in_pixels(frame) == sorted(ROOFS)


@pytest.mark.slow
def test_an_ensemble_too_large_for_the_memory_says_what_it_needs(pair, tmp_path, monkeypatch):
    path = write_first_place(tmp_path / "m")
    monkeypatch.setattr("geodamage.model.ensemble.Ensemble.resident_bytes", 5_600_000_000)
    result = run_command("assess", *pair, "-o", tmp_path / "b.gpkg", "--model", path)
    assert result.exit_code == 7
    (needed,) = re.findall(r"raise --memory to ([\d.]+GB) or more", result.stderr)
    frame = run(pair, tmp_path / "b.gpkg", path, "--memory", needed)
    assert in_pixels(frame) == sorted(ROOFS)


def test_rules_that_make_no_sense_are_refused(pair, tmp_path):
    path = write_first_place(tmp_path / "m", dilation=4)
    result = run_command("assess", *pair, "-o", tmp_path / "b.gpkg", "--model", path)
    assert result.exit_code == 5
    assert "dilation = 4 is neither 0 nor an odd number" in result.stderr
    assert not (tmp_path / "b.gpkg").exists()


def test_an_unknown_vote_is_refused(pair, model, tmp_path):
    output = tmp_path / "b.gpkg"
    options = "--model", model, "--vote", "majority"
    assert run_command("assess", *pair, "-o", output, *options).exit_code == 2
    with pytest.raises(OptionError, match=r"--vote majority: .*give probabilities or pixels"):
        Job(pre=pair.pre, post=pair.post, output=output, vote="majority")
