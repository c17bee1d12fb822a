import math
from pathlib import Path

import pytest
import torch

from geodamage.errors import OptionError
from geodamage.networks import create_network
from sample_data.pairs import make_pairs
from tests.run_folders import write_weights
from tests.training.small_runs import losses, options_of
from training.steps import train
from training.teaching.objective import (
    DistilObjective,
)
from training.train import set_up

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
SMALL = """
name = "student"
network = "compact_small"
task = "assess"
sampling = "chips"
chips_crop = 64
chips_generated = 0
batch = 2
steps = 4
lr = 1e-3
checkpoint_every = 1
validate_every = 100
metric = "f1_building"
distil_teachers = ["teacher"]
distil_kl = 1.0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set")
    names = make_pairs(folder / "xbd", 3, 64)
    parts = ("train", "train", "validation")
    rows = [f"{name},{part}\n" for name, part in zip(names, parts, strict=True)]
    (folder / "split.csv").write_text("pair,part\n" + "".join(rows), encoding="utf-8")
    return folder


def given(folder, runs, *changes, text):
    """Return the options of a training that has no more folders."""
    options = options_of(folder, runs, *changes, text=text)
    options.half = options.masked = None
    return options


@pytest.fixture
def begin(folder, tmp_path, runs):
    """Return what starts, or goes on with, the training of a student."""

    def start(*changes):
        where = tmp_path / "runs"
        where.mkdir(exist_ok=True)
        for teacher in ("teacher", "second"):
            if not (where / teacher).exists():
                (where / teacher).symlink_to(runs / teacher)
        return set_up(given(folder, where, *changes, text=SMALL))

    return start


@pytest.mark.slow
def test_a_student_without_a_teacher_trains_as_ever(begin):
    work, state = begin('name="alone"', "distil_teachers=[]")
    assert not isinstance(work.objective, DistilObjective)
    assert "teacher" not in work.samples.draw(0)
    assert len(losses(work, state)) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        ("distil_reverse=true",),
        ('distil_kind="ensemble"', 'distil_teachers=["teacher","second"]'),
        ('distil_kind="dual"', 'distil_teachers=["teacher","second"]', "distil_response=0.2"),
        ("distil_feature=0.1",),
        ('distil_kind="dual"', 'distil_teachers=["teacher","second"]', "distil_feature=0.1"),
        ('distil_cache="CACHE"', 'distil_tta="flips"'),
    ],
    ids=["single", "ensemble", "dual", "features", "dual-features", "cached"],
)
def test_every_kind_of_teaching_moves_the_student_and_no_teacher(begin, changes, tmp_path):
    named = [change.replace("CACHE", str(tmp_path / "kept")) for change in changes]
    work, state = begin(*named)
    teachers = [] if work.objective.panel is None else [*work.objective.panel.parameters()]
    before = [weight.clone() for weight in teachers]
    student = [weight.detach().clone() for weight in state.network.parameters()]
    found = losses(work, state)
    assert len(found) == 4
    assert all(math.isfinite(loss) for loss in found)
    assert all(torch.equal(a, b) for a, b in zip(before, teachers, strict=True))
    after = state.network.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(student, after, strict=True))
    if named[0].startswith("distil_cache"):
        assert work.objective.panel is None
        assert len([*(tmp_path / "kept").rglob("*.npz")]) == 2


@pytest.mark.slow
def test_validation_judges_by_the_labels_alone(begin):
    work, _ = begin()
    assert isinstance(work.objective, DistilObjective)
    assert not isinstance(work.judge, DistilObjective)


@pytest.mark.slow
def test_a_projection_learns_is_kept_and_goes_on_where_it_was(begin):
    changes = ("distil_feature=0.1",)
    work, state = begin('name="whole"', *changes)
    first = state.beside.state_dict()["0.weight"].clone()
    whole = losses(work, state)
    assert not torch.equal(first, state.beside.state_dict()["0.weight"])
    reports = train(*begin(*changes))
    for _ in range(3):  # the third is asked for, so the checkpoint of the second is there
        next(reports)
    reports.close()
    work, state = begin(*changes)
    assert state.step == 2
    assert losses(work, state) == whole[2:]
    best = torch.load(work.run / "best", weights_only=False)
    plain = create_network("compact_small", task="assess")
    assert best["state_dict"].keys() == plain.state_dict().keys()


@pytest.mark.slow
def test_a_teacher_that_is_not_there_stops_before_the_first_step(begin):
    with pytest.raises(OptionError, match="'nobody' is no run with a best checkpoint"):
        begin('distil_teachers=["nobody"]')


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kd_building", "kd_damage", "kd_dual"])
def test_a_published_recipe_takes_two_steps_with_its_networks(folder, tmp_path, name):
    runs = tmp_path / "runs"
    runs.mkdir()
    teachers = {"localisation": "loc.pth", "damage": "dam.pth"}
    for task, file in teachers.items():
        write_weights(runs / file, "seresnext50_unet", task)
    paths = {task: str(runs / file) for task, file in teachers.items()}
    wanted = {
        "kd_building": [paths["localisation"]],
        "kd_damage": [paths["damage"]],
        "kd_dual": [*paths.values()],
    }[name]
    text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    small = (
        "steps=2", "epochs=0", "batch=2", 'init=""', "pretrained=false", "augmentation_crop=64",
        "validate_on=1", "distil_feature=0.1", "distil_kl=0.2", "distil_reverse=true",
        "distil_teachers=[" + ",".join(f'"{path}"' for path in wanted) + "]",
    )  # fmt: skip
    work, state = set_up(given(folder, runs, *small, text=text))
    assert state.beside is None  # the encoders are as wide as each other, so nothing is projected
    found = losses(work, state)
    assert len(found) == 2
    assert all(math.isfinite(loss) for loss in found)
