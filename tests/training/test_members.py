import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.model.loading import load_model
from tests.conftest import ROOFS, make_arrays, make_model, make_raster
from tests.fakes import SMALL
from training import members
from training.members import best_threshold, choose


@pytest.mark.slow
@SMALL
@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_no_threshold_is_better(count, seed):
    generator = np.random.default_rng(seed)
    total = generator.integers(0, 250 * count + 1, 60)
    truth = generator.random(60) < 0.5
    truth[0] = True
    jaccard, threshold = best_threshold(total, count, truth)

    def at(limit):
        found = total / (250 * count) > limit
        return (found & truth).sum() / (found | truth).sum()

    assert at(threshold) == pytest.approx(jaccard)
    assert all(at(limit) <= jaccard + 1e-12 for limit in np.linspace(0, 1, 500, endpoint=False))


def test_members_that_complete_each_other_are_taken_and_noise_is_left():
    truth = np.arange(200) < 100
    left, right = (np.full(200, 60, np.uint8) for _ in range(2))
    left[:60], right[40:100] = 250, 250  # each sees a part, and both the middle
    left[150:170], right[180:] = 120, 120
    noise = np.random.default_rng(0).integers(0, 251, 200).astype(np.uint8)
    steps = list(choose(np.stack([noise, left, right]), truth))
    assert {step.member for step in steps} == {1, 2}
    assert steps[-1].jaccard == 1
    assert [step.jaccard for step in steps] == sorted(step.jaccard for step in steps)
    assert len(list(choose(np.stack([noise, left, right]), truth, most=1))) == 1


@pytest.fixture
def folders(tmp_path):
    """Return candidates of which one sees nothing, with two images and their masks."""
    make_model(tmp_path / "bright.onnx", tile=256)
    text = '[[member]]\nfile = "bright.onnx"\nscales = [0.25]\n\n[[member]]\nfile = "bright.onnx"\n'
    (tmp_path / "all.toml").write_text(text)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number, roofs in enumerate((ROOFS[:2], ROOFS[2:])):
        pre, _ = make_arrays(roofs=roofs)
        make_raster(tmp_path / "images" / f"a{number}.tif", pre)
        make_raster(tmp_path / "masks" / f"a{number}_mask.tif", (pre[:1] > 100).astype(np.uint8))
    return tmp_path


def run(folder, *options):
    members.main(
        [
            str(folder / "all.toml"), str(folder / "images"), str(folder / "masks"),
            "-o", str(folder / "chosen.toml"), *options,
        ]
    )  # fmt: skip


@pytest.mark.slow
def test_the_ensemble_that_is_written_loads(folders, capsys):
    run(folders)
    chosen = load_model(folders / "chosen.toml", device="cpu")
    assert [member.scales for member in chosen.members] == [(1.0,)]
    assert 0 < chosen.card.threshold < 1
    assert capsys.readouterr().out.startswith("Jaccard 1.0000 above 0.")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "chosen.toml").touch(), "exists; choose another name"),
        (lambda folder: (folder / "masks" / "a1_mask.tif").rename(folder / "masks" / "b.tif"),
         "no prediction in"),
        (lambda folder: (folder / "all.toml").unlink(), "no such model file"),
        (lambda folder: (folder / "all.toml").write_text(
            '[[member]]\nfile = "bright.onnx"\nheads = ["damage"]\n'), "does not find buildings"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_from_is_said(folders, capsys, change, said):
    change(folders)
    with pytest.raises(SystemExit):
        run(folders)
    assert said in capsys.readouterr().err
