import dataclasses
import json

import numpy as np
import pytest

from geodamage.errors import LabelError, ModelError, OptionError, OutputExistsError
from geodamage.model.card import read_card
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import load_model
from geodamage.model.openvino import has_bfloat16
from geodamage.optimise import parity
from geodamage.optimise import variants as optimisation
from geodamage.optimise.timings import Memory
from geodamage.optimise.variants import OptimisationJob, calibration_windows, choose_parts, optimise
from tests.conftest import listing
from tests.convolutions import write_convolutions
from tests.fakes import make_card
from tests.labelled_pairs import write_split


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    """Measuring memory takes a process of its own."""
    monkeypatch.setattr(
        optimisation, "measure_memory", lambda path, side, **how: Memory(1, 300 * side**2)
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_split(folder, storm_1="train", storm_2="validation", storm_3="test", storm_4="train")
    return folder


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_convolutions(tmp_path_factory.mktemp("parent") / "own.onnx", threshold=0.4)


def run(**options):
    work = optimise(OptimisationJob(windows=8, **options))
    return list(work), work.result()


@pytest.mark.slow
def test_variants_are_written_and_their_cards_say_what_they_are(tmp_path, parent, data):
    steps, (fp16, int8) = run(
        calibration=data, model=parent, output=tmp_path, split=data / "split.csv"
    )
    assert listing(tmp_path) == ["own-fp16.onnx", "own-int8.onnx"]
    assert [step.stage for step in steps] == ["quantise", "quantise", "compare"]
    assert (fp16.written, int8.written) == (True, True)
    old = load_model(parent, device="cpu").card
    for variant in (fp16, int8):
        card = load_model(variant.path, device="cpu").card
        assert card.name == f"own-{variant.precision}"
        assert card.precision == variant.precision
        assert card.parent_sha256 == old.sha256 != card.sha256
        assert (card.halo, card.stride, card.threshold) == (old.halo, old.stride, 0.4)
        assert card.bytes_per_pixel == 300
        assert card.parity["passed"] is True
        assert card.parity["buildings"] == 4
        assert card.parity["data"] == "split.csv, validation"
        assert len(card.parity["date"]) == 10
    assert card.parity["kept_float"] == int8.kept_float == "ends"
    assert fp16.size < fp16.parent_size


@pytest.mark.slow
@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
def test_bfloat16_is_the_model_with_more_on_its_card(tmp_path, parent, data):
    _, (found,) = run(calibration=data, model=parent, output=tmp_path, precisions=("bfloat16",))
    assert found.written
    assert listing(tmp_path) == ["own.onnx"]
    before, after = (load_model(path, device="cpu") for path in (parent, found.path))
    assert after.card.sha256 == before.card.sha256
    assert dataclasses.replace(after.card, parity={}) == before.card
    facts = after.card.parity["bfloat16"]
    assert facts["passed"] is True
    assert facts["buildings"] == 16
    assert facts["halo"] >= before.card.halo
    assert facts["bytes_per_pixel"] == 300
    assert load_model(found.path, precision="bfloat16").card.halo == facts["halo"]


@pytest.mark.slow
def test_a_variant_that_disagrees_is_refused_with_its_figures(tmp_path, parent, data, monkeypatch):
    monkeypatch.setattr(parity, "AGREEMENT", 1.01)
    steps, (int8,) = run(calibration=data, model=parent, output=tmp_path, precisions=("int8",))
    assert not int8.written
    assert listing(tmp_path) == []
    assert int8.as_dict()["shortfalls"] == ["agreement 100.00% is below 101.0%"]
    # Every way was tried before it was given up.
    assert [step.stage for step in steps].count("quantise") == 2


@pytest.mark.slow
def test_a_variant_that_disagrees_is_kept_where_asked_and_says_so(
    tmp_path, parent, data, monkeypatch
):
    monkeypatch.setattr(parity, "AGREEMENT", 1.01)
    run(calibration=data, model=parent, output=tmp_path, precisions=("fp16",), keep=True)
    path = tmp_path / "own-fp16.onnx"
    card = read_card(path.read_bytes(), "m")
    assert card.parity["passed"] is False
    assert card.parity["shortfalls"] == ["agreement 100.00% is below 101.0%"]


@pytest.mark.slow
def test_an_ensemble_becomes_one_of_its_variants(tmp_path, data):
    write_convolutions(tmp_path / "one.onnx")
    write_convolutions(tmp_path / "two.onnx", scale=0.9)
    path = tmp_path / "both.toml"
    path.write_text(
        'name = "böth"\nversion = "1"\nthreshold = 0.4\n'
        "[pixels]\nthresholds = [0.38, 0.13, 0.13, 0.14]\n"
        '[[member]]\nfile = "one.onnx"\nweight = 2.0\nflips = ["none", "both"]\n'
        '[[member]]\nfile = "two.onnx"\n[[member]]\nfile = "one.onnx"\ntranspose = true\n'
    )
    out = tmp_path / "out"
    out.mkdir()
    _, (int8,) = run(calibration=data, model=path, output=out, precisions=("int8",))
    assert listing(out) == ["both-int8.toml", "one-int8.onnx", "two-int8.onnx"]
    made, parent = load_model(int8.path, device="cpu"), load_model(path, device="cpu")
    assert isinstance(made, Ensemble)
    assert made.card.name == "böth-int8"
    assert (made.card.precision, made.card.threshold) == ("int8", 0.4)
    assert made.rules == parent.rules
    assert made.card.parity["passed"] is True
    assert [m.weight for m in made.members] == [2.0, 1.0, 1.0]
    assert made.members[2].transpose


def test_what_is_no_longer_single_is_no_parent(tmp_path, data):
    path = write_convolutions(tmp_path / "own.onnx", precision="int8")
    with pytest.raises(ModelError, match=r"own is int8 .*give the model in single"):
        run(calibration=data, model=path, output=tmp_path)


@pytest.mark.slow
def test_nothing_is_replaced_unasked(tmp_path, parent, data):
    (tmp_path / "own-int8.onnx").write_bytes(b"old")
    with pytest.raises(OutputExistsError, match=r"own-int8\.onnx exists"):
        run(calibration=data, model=parent, output=tmp_path)
    assert listing(tmp_path) == ["own-int8.onnx"]
    run(calibration=data, model=parent, output=tmp_path, overwrite=True)
    assert (tmp_path / "own-int8.onnx").stat().st_size > 3


def test_a_stopped_optimisation_leaves_nothing(tmp_path, parent, data):
    work = optimise(OptimisationJob(calibration=data, model=parent, output=tmp_path, windows=1))
    next(work)
    work.close()
    assert listing(tmp_path) == []


def test_what_is_compared_on_is_not_calibrated_on(data):
    job = OptimisationJob(calibration=data, split=data / "split.csv")
    compared, calibrated = choose_parts(job)
    assert [pair.name for pair in compared] == ["storm_2"]
    assert [pair.name for pair in calibrated] == ["storm_1", "storm_4"]
    every, same = choose_parts(OptimisationJob(calibration=data))
    assert every == same
    assert len(every) == 4


def test_a_split_of_one_part_serves_for_both(data, tmp_path):
    split = tmp_path / "one.csv"
    split.write_text("pair,part\nstorm_1,validation\n")
    compared, calibrated = choose_parts(OptimisationJob(calibration=data, split=split))
    assert compared == calibrated


def test_a_part_that_is_not_there_is_named(data):
    job = OptimisationJob(calibration=data, split=data / "split.csv", part="other")
    with pytest.raises(LabelError, match="no pair in part 'other'"):
        choose_parts(job)


def test_windows_are_cut_of_every_pair_and_are_the_same_again(data):
    job = OptimisationJob(calibration=data, windows=5)
    pairs, _ = choose_parts(job)
    card = make_card(stride=16, tile=64, halo=8)
    first, again = ([*calibration_windows(pairs, card, job)] for _ in range(2))
    assert len(first) == 5
    for one, other in zip(first, again, strict=True):
        assert one["pre"].shape == one["post"].shape == (1, 3, 64, 64)
        assert one["pre"].dtype == np.uint8
        assert all((one[date] == other[date]).all() for date in ("pre", "post"))
    larger = make_card(stride=16, tile=256, halo=8)
    assert next(calibration_windows(pairs, larger, job))["pre"].shape == (1, 3, 256, 256)


def test_channels_that_pairs_lack_are_refused(data):
    job = OptimisationJob(calibration=data)
    card = make_card(pre_channels=("red", "infrared"))
    with pytest.raises(ModelError, match="takes red, infrared; pairs of xBD have"):
        next(calibration_windows(choose_parts(job)[0], card, job))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precisions": ("int4",)}, "--precision int4: unknown; give fp16, half, int8 or bfloat16"),
        ({"precisions": ()}, "--precision: nothing is chosen"),
        ({"windows": 0}, "--windows 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(data, options, words):
    with pytest.raises(OptionError, match=words):
        OptimisationJob(calibration=data, **options)


@pytest.mark.slow
def test_the_report_is_json(tmp_path, parent, data):
    _, variants = run(calibration=data, model=parent, output=tmp_path, precisions=("fp16",))
    (report,) = json.loads(json.dumps([variant.as_dict() for variant in variants]))
    assert report["written"] is True
    assert report["agreement"] == 1.0
    assert report["score"]["loss_points"] == 0


def test_an_ensemble_with_a_saved_map_has_no_variants(tmp_path, data):
    write_convolutions(tmp_path / "own.onnx")
    (tmp_path / "map.tif").write_bytes(b"of one scene")
    path = tmp_path / "both.toml"
    path.write_text('[[member]]\nfile = "own.onnx"\n[[member]]\nfile = "map.tif"\n')
    with pytest.raises(ModelError, match=r"both\.toml: holds saved maps"):
        run(calibration=data, model=path, output=tmp_path / "out", precisions=("fp16",))
