import itertools
from pathlib import Path

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation import SERIES, Bench, Looks, count, counted_of, gain_of, main, table
from benchmarks.distillation import Counted
from geodamage.errors import InputError, OptionError
from tests.fakes import write_xbd
from tests.run_folders import write_run, write_weights
from training.recipe import Recipe, as_values

FOLDERS = {name: Path(name) for name in ("half", "masked", "aerial", "unlabelled")}


def bench_of(series, tmp_path, **changes):
    given = {"folders": FOLDERS, "init": "start", **changes}
    return Bench(SERIES[series], tmp_path / "xbd", tmp_path / "runs", 10, 2, **given)


def recipe_of(bench, arm):
    arguments = bench.command(arm, 1)
    changes = [b for a, b in itertools.pairwise(arguments) if a == "--set"]
    return as_values(Recipe.read(Path(arguments[0]), changes))


def changed(bench, arm):
    """Return the keys in which an arm differs from the first one of its series."""
    base, own = (recipe_of(bench, one) for one in (bench.series.arms[0], arm))
    return {key for key in base if base[key] != own[key]} - {"name"}


def test_each_arm_of_the_first_series_differs_in_one_thing(tmp_path):
    bench = bench_of("first", tmp_path)
    told = {arm.name: changed(bench, arm) for arm in bench.series.arms}
    assert told == {
        "plain": set(),
        "half": {"chips_half_share"},
        "masked": {"chips_masked_share"},
        "drawn": {"chips_generated", "chips_generated_share"},
        "still": {"chips_shift"},
        "even": {"chips_grade_weights"},
        "fewer": {"subset"},
    }
    assert recipe_of(bench, bench.series.arms[0])["distil_teachers"] == ()


def test_the_second_series_starts_from_a_checkpoint_and_adds_to_it(tmp_path):
    bench = bench_of("second", tmp_path)
    told = {arm.name: changed(bench, arm) for arm in bench.series.arms}
    harder = {"chips_coarse", "chips_haze", "chips_lean"}
    assert told == {
        "longer": set(),
        "unlabelled": {"chips_unlabelled_share"},
        "unmasked": {"chips_masked_share"},
        "unhalved": {"chips_half_share"},
        "harder": harder,
        "small": {"chips_small_weight"},
        "all": harder | {"chips_unlabelled_share"},
    }
    assert recipe_of(bench, bench.series.arms[0])["init"] == "start"


def test_the_series_of_imagenet_asks_what_its_start_is_worth(tmp_path):
    bench = bench_of("pretrained", tmp_path)
    told = {arm.name: changed(bench, arm) for arm in bench.series.arms}
    assert told == {
        "imagenet": set(),
        "random": {"pretrained"},
        "norm": {"freeze_batch_norm"},
        "frozen": {"frozen"},
        "slow": {"encoder_rate"},
        "full": {"encoder_rate"},
        "shallow": {"network_options"},
        "lite2": {"network"},
    }


def test_a_share_of_chips_comes_with_its_folder(tmp_path):
    for series in SERIES:
        bench = bench_of(series, tmp_path)
        for arm in bench.series.arms:
            values, arguments = recipe_of(bench, arm), bench.command(arm, 1)
            for name in ("half", "masked", "unlabelled"):
                assert (values[f"chips_{name}_share"] > 0) == (f"--{name}" in arguments)


def test_a_folder_that_was_not_given_is_named(tmp_path):
    bench = bench_of("first", tmp_path, folders={"half": None})
    with pytest.raises(OptionError, match="--half: the arm 'half' learns from it"):
        bench.command(bench.series.arms[1], 1)


def test_arms_are_chosen_by_name():
    series = SERIES["first"]
    assert [arm.name for arm in series.chosen("drawn, plain")] == ["plain", "drawn"]
    assert series.chosen("") == [*series.arms]
    with pytest.raises(OptionError, match="--arms big: none of plain, half"):
        series.chosen("big")


def counted(right):
    pixels = np.full((23, 5, 3), 10)
    pixels[..., 0] = right
    footprints = np.zeros((23, 6, 6), int)
    footprints[:, 1:5, 1:5] = right * np.eye(4, dtype=int) + 1
    return Counted(pixels, footprints)


@pytest.mark.slow
def test_a_gain_is_over_the_seeds_of_both():
    place = np.arange(23)
    looks = {seed: Looks(counted(right), counted(1)) for seed, right in ((1, 20), (2, 30))}
    text = gain_of(looks, {1: counted(20), 3: counted(90)}, place)
    assert text == "+0.000 (+0.000 to +0.000)"
    assert gain_of(looks, {3: counted(20)}, place) == "n/a"


@pytest.mark.slow
def test_the_table_has_a_row_for_each_arm_that_is_trained(tmp_path, monkeypatch):
    bench = bench_of("first", tmp_path)
    rights = {"plain-10-seed1": 20, "plain-10-seed2": 24, "half-10-seed1": 26}
    monkeypatch.setattr(ablation, "is_done", lambda run: run.name in rights)
    monkeypatch.setattr(
        ablation, "count", lambda bench, run: Looks(counted(rights[run.name]), counted(10))
    )
    lines = [*table(bench, bench.series.arms)]
    assert len(lines) == 4
    assert lines[2].startswith("| pairs alone | 0.667 0.706 |")
    assert lines[2].endswith("|  |")
    assert "+0.056" in lines[3]  # 0.722 against 0.667 of the same seed


@pytest.mark.slow
def test_a_run_is_counted_once_until_its_weights_change(tmp_path, monkeypatch):
    write_xbd(tmp_path / "xbd", ["storm_1", "storm_2"])
    split = tmp_path / "split.csv"
    split.write_text("pair,part\nstorm_1,test\nstorm_2,test\n")
    monkeypatch.setattr(ablation, "SPLIT", split)
    bench = bench_of("first", tmp_path)
    run = write_run(bench.runs / "plain-10-seed1", "compact_small", sampling="chips")
    looks = count(bench, run)
    assert looks.straight.pixels.shape == looks.off.pixels.shape == (2, 5, 3)
    assert looks.straight.footprints.sum() == 8
    monkeypatch.setattr(ablation, "measure", None)
    again = count(bench, run)
    assert np.array_equal(again.straight.pixels, looks.straight.pixels)
    write_weights(run / "best", "compact_small", "assess", seed=1)
    with pytest.raises(TypeError):
        count(bench, run)


def test_kept_counts_that_are_damaged_are_named(tmp_path):
    with pytest.raises(InputError, match=r"looks\.json: no kept counts; remove it"):
        counted_of({"pixels": []}, tmp_path / "looks.json")


def test_a_wrong_arm_ends_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match="Error: --arms big"):
        main(["table", "first", "--data", str(tmp_path), "--arms", "big"])
