"""The recipes in training/recipes against what was published, and every one of them at work."""

import argparse
import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from geodamage.networks import create_network
from geodamage.networks.compact import CompactSiamese
from geodamage.networks.lite import LITES, LiteSiamese
from geodamage.networks.two_sensors import CompactTwoSensors
from geodamage.xbd.folders import find_pairs
from sample_data.pairs import make_pairs
from tests.data_folder import DATA, needs
from training.data.samples import stack
from training.data.splits import SCHEMES
from training.examples import count_pixels, make_samples, read_parts
from training.losses.options import parse_term
from training.objectives import make_objective
from training.recipe import COMPACT, TWO_SENSORS, Recipe
from training.schedules import learning_rate
from training.steps import train
from training.train import set_up

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "training" / "recipes"
#: Recipes of other data, which are tried where that is: images with masks in test_open_cities,
#: chips of two sensors in test_chips.
APART = ("open_cities_", "cross_modal_chips_")
NAMES = sorted(p.stem for p in RECIPES.glob("*.toml") if not p.stem.startswith(APART))

#: Recipe, learning rate, batch, epochs, milestones as published, clip, crop, loss, channel weights.
#: The numbers are those of the specification, not of the presets that the recipes name.
PUBLISHED = """
first_place_res34_localisation              1.5e-4 16  55 5,11,17,25,33,47,50 .999 736 dice:1,focal:10 -
first_place_seresnext50_localisation        1.5e-4 15 150 15,29,43,53,65,80,90,100,110,130 1.1 512 dice:1,focal:10 -
first_place_seresnext50_localisation_tuning 4e-5   15  12 1,2,3,4,5,7,9,11 1.1 512 dice:1,focal:10 -
first_place_dpn92_localisation              1.5e-4 10 100 15,29,43,53,65,80,90 1.1 512 dice:1,focal:6 -
first_place_dpn92_localisation_tuning       4e-5   10   8 1,2,3,4,5,7,9,11 1.1 512 dice:1,focal:6 -
first_place_senet154_localisation           1.5e-4 14  30 3,7,11,15,19,23,27 .999 480 dice:1,focal:14 -
first_place_res34_damage                    2e-4   16  20 5,11,17 .999 608 dice:1,focal:12 .05,.2,.8,.7,.4
first_place_res34_damage_tuning             8e-6   16   3 1,2 .999 608 dice:1,focal:12 .05,.2,.8,.7,.4
first_place_seresnext50_damage              2e-4   16  20 5,11,17 .999 512 dice:.5,focal:2,cross_entropy:11 .1,.1,.3,.3,.2
first_place_seresnext50_damage_tuning       1e-5   16   2 1,2 .999 512 dice:.5,focal:2,cross_entropy:11 .1,.1,.3,.3,.2
first_place_dpn92_damage                    2e-4   12  10 3,7 .999 512 dice:.5,focal:5,cross_entropy:11 .1,.1,.5,.3,.2
first_place_dpn92_damage_tuning             8e-6   12   1 1,2 .999 512 dice:.5,focal:5,cross_entropy:11 .1,.1,.5,.3,.2
first_place_senet154_damage                 1e-4    8  16 3,5,9,13 .999 448 dice:.5,cross_entropy:8 .1,.1,.6,.3,.2
first_place_senet154_damage_tuning          8e-6    8   2 1,2 .999 448 dice:.5,cross_entropy:8 .1,.1,.6,.3,.2
metadamagenet_resnet34_localisation           1.5e-4 16  55 5,11,17,25,33,47,50 .999 736 dice:1,alpha_focal:10 -
metadamagenet_seresnext50_localisation        1.5e-4 15 150 15,29,43,53,65,80,90,100,110,130 1.1 512 dice:1,alpha_focal:10 -
metadamagenet_seresnext50_localisation_tuning 4e-5   15  12 1,2,3,4,5,7,9,11 1.1 512 dice:1,alpha_focal:10 -
metadamagenet_dpn92_localisation              1.5e-4 10 100 15,29,43,53,65,80,90 1.1 512 dice:1,alpha_focal:6 -
metadamagenet_dpn92_localisation_tuning       4e-5   10   8 1,2,3,4,5,7,9,11 1.1 512 dice:1,alpha_focal:6 -
metadamagenet_senet154_localisation           1.5e-4 14  30 3,7,11,15,19,23,27 .999 480 dice:1,alpha_focal:14 -
metadamagenet_resnet34_damage                 2e-4   16  20 5,11,17 .999 608 dice:1,alpha_focal:12 .05,.2,.8,.7,.4
metadamagenet_resnet34_damage_tuning          8e-6   16   3 1,2 .999 608 dice:1,alpha_focal:12 .05,.2,.8,.7,.4
metadamagenet_seresnext50_damage              2e-4   16  20 5,11,17 .999 512 dice:.5,alpha_focal:2,cross_entropy:11 .1,.1,.3,.3,.2
metadamagenet_seresnext50_damage_tuning       1e-5   16   2 1,2 .999 512 dice:.5,alpha_focal:2,cross_entropy:11 .1,.1,.3,.3,.2
metadamagenet_dpn92_damage                    2e-4   12  10 5,11,17 .999 512 dice:.5,alpha_focal:5,cross_entropy:11 .1,.1,.5,.3,.2
metadamagenet_dpn92_damage_tuning             8e-6   12   1 1,2 .999 512 dice:.5,alpha_focal:5,cross_entropy:11 .1,.1,.5,.3,.2
metadamagenet_senet154_damage                 1e-4    8  16 3,5,9,13 .999 512 dice:1,cross_entropy:8 .1,.1,.6,.3,.2
metadamagenet_senet154_damage_tuning          8e-6    8   2 1,2 .999 512 dice:1,cross_entropy:8 .1,.1,.6,.3,.2
kd_building 2e-3 8 30 4,6,8,10,12,14,15,16,17,18,19,20 1.1 512 dice:3,focal:10,bce:1 -
kd_damage   2e-3 5 30 5,11,17,23,29 .999 512 dice:.5,focal:2,cross_entropy:11.2 .1,.1,.3,.3,.2
kd_dual     2e-3 5 30 5,11,17,23,29 .999 512 dice:.5,focal:2,cross_entropy:11.2 .1,.1,.3,.3,.2
"""  # noqa: E501
ROWS = {row.split()[0]: row.split()[1:] for row in PUBLISHED.strip().splitlines()}
#: Of which no training is published; that of the SE-ResNeXt50 stands in.
STANDING_IN = [
    f"metadamagenet_{network}"
    for network in (
        "efficientunet_b0", "efficientunet_b0_scse", "efficientunet_widese_b0",
        "efficientunet_b4", "efficientunet_b4_scse", "segformer_b0",
    )
]  # fmt: skip
OTHERS = ["meta_learning", "siamese_resnet50", "siamese_resnet50_skips", "compact"]
OTHERS += ["accurate", "fast", "accurate_second", "fast_second", "fast_student"]
OTHERS += ["kd_compact", "kd_compact_small", "kd_ensemble", "cross_modal_assess", "lite0"]
OTHERS += ["lite0_wide", "lite0_student"]
#: Published with 16 bit arithmetic (apex O1, or a scaler); these are not.
IN_FULL = [
    "kd_building",
    "kd_damage",
    "kd_dual",
    "first_place_res34_localisation",
    "metadamagenet_dpn92_localisation_tuning",
    "metadamagenet_senet154_localisation",
    "metadamagenet_senet154_damage_tuning",
]

#: One recipe of each family and kind of loss: how much of the loss is left after how many steps.
REPRESENTATIVES = {
    "first_place_res34_localisation": (0.8, 6),
    "first_place_res34_damage": (0.8, 6),
    "first_place_seresnext50_damage": (0.8, 6),
    "metadamagenet_efficientunet_b0_localisation": (0.95, 6),
    "metadamagenet_segformer_b0_localisation": (0.95, 2),
    "siamese_resnet50": (0.997, 4),
    "compact": (0.95, 6),
}


def read(name, *overrides):
    return Recipe.read(RECIPES / f"{name}.toml", overrides)


def numbers(text):
    return () if text == "-" else tuple(float(number) for number in text.split(","))


def rates(recipe, epochs):
    return [learning_rate(recipe, epoch, epochs, 1) for epoch in range(epochs)]


def test_there_is_a_recipe_for_everything_that_was_published():
    stands_in = [f"{name}_{task}" for name in STANDING_IN for task in ("localisation", "damage")]
    assert sorted([*ROWS, *stands_in, *OTHERS]) == NAMES


@pytest.mark.parametrize("name", ROWS)
def test_a_recipe_has_the_published_numbers(name):
    lr, batch, epochs, milestones, clip, crop, terms, weights = ROWS[name]
    recipe = read(name)
    assert (recipe.lr, recipe.batch, recipe.epochs) == (float(lr), int(batch), float(epochs))
    assert (recipe.clip, recipe.weight_decay, recipe.optimiser) == (float(clip), 1e-6, "adamw")
    assert recipe.augmentation.crop == int(crop)
    published = {term: float(weight) for term, _, weight in _split(terms.split(","))}
    assert dict(map(parse_term, recipe.loss.terms)) == published
    assert recipe.loss.channel_weights == numbers(weights)
    assert recipe.amp == ("none" if name in IN_FULL else "fp16")
    # First place steps its schedule so that a milestone acts one epoch later than torch's own.
    late = name.startswith(("first_place", "kd_"))
    passed = [sum(epoch >= m + late for m in numbers(milestones)) for epoch in range(int(epochs))]
    assert rates(recipe, int(epochs)) == pytest.approx([float(lr) * 0.5**n for n in passed])


def _split(terms):
    return [term.partition(":") for term in terms]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_those_it_belongs_to(name):
    recipe = read(name)
    assert recipe.name == name
    if recipe.task == "damage" or "_tuning" in name:
        before = read(recipe.init)
        assert before.network == recipe.network
        assert "_tuning" not in recipe.init
        assert ("_tuning" in name) == (before.task == recipe.task)
        assert not recipe.pretrained
    else:
        assert not recipe.init
    if recipe.task == "damage":
        assert recipe.metric == "score"
        assert recipe.augmentation.images == "both"
    if recipe.task == "localisation":
        own = "dice" if name.startswith(("first_place", "kd_")) else "f1_building"
        assert recipe.metric == own
        assert recipe.augmentation.images == "pre"
    # What the sigmoid of the first place's ResNet-34 says in channel 0, nobody else does.
    building = name.startswith("first_place_res34_damage")
    assert (recipe.loss.channel_0 == "building") == building


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("first", "meta"))])
def test_damaged_pairs_come_as_often_as_published(name):
    recipe = read(name)
    rule = "once"
    if recipe.task == "damage" and name.startswith("first_place"):
        rule = "oversample_any" if "_tuning" in name else "oversample"
    assert recipe.sampling == rule
    assert recipe.unclassified == "no-damage"


@pytest.mark.parametrize("name", STANDING_IN)
def test_what_is_not_published_trains_like_the_se_resnext50(name):
    for task in ("localisation", "damage"):
        recipe, other = read(f"{name}_{task}"), read(f"metadamagenet_seresnext50_{task}")
        for key in ("lr", "batch", "epochs", "milestones", "clip", "augmentation", "amp"):
            assert getattr(recipe, key) == getattr(other, key), key
        assert not any("focal" in term for term in recipe.loss.terms)
        assert recipe.loss.smooth == 1e-8


def test_meta_learning_is_that_of_the_better_published_run():
    recipe = read("meta_learning")
    assert (recipe.network, recipe.task) == ("efficientunet_b0", "localisation")
    assert (recipe.lr, recipe.meta.inner_lr, recipe.meta.inner_steps) == (15e-6, 1e-4, 5)
    assert (recipe.meta.support, recipe.meta.query, recipe.meta.second_order) == (1, 2, True)
    assert recipe.batch % recipe.meta.size == 0
    assert recipe.loss.terms == ("dice:1",)


@pytest.mark.parametrize("name", ["siamese_resnet50", "siamese_resnet50_skips"])
def test_the_siamese_resnet_is_trained_as_its_script_does(name):
    recipe = read(name)
    assert (recipe.batch, recipe.epochs, recipe.clip, recipe.optimiser) == (8, 100, 2.5, "adamw")
    assert (recipe.metric, recipe.patience, recipe.min_delta) == ("loss", 20, 0.001)
    assert recipe.weight_decay == torch.optim.AdamW([torch.zeros(1)]).defaults["weight_decay"]
    assert recipe.loss.terms == ("softmax_focal:1",)
    assert (recipe.loss.gamma, recipe.loss.pre_share, recipe.loss.balanced) == (2, 0.4, True)
    assert (recipe.augmentation.flip_vertical, recipe.augmentation.flip_horizontal) == (0.5, 0.5)
    assert (recipe.augmentation.crop, recipe.unclassified) == (1024, "own")
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([weight], lr=1e-4)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, 20, 1, eta_min=1e-7)
    expected = []
    for _ in range(100):
        expected.append(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()
    assert rates(recipe, 100) == pytest.approx(expected)


def test_the_bundled_model_is_trained_as_it_was():
    recipe = read("compact")
    assert (recipe.steps, recipe.batch, recipe.lr, recipe.warmup) == (3000, 6, 6e-4, 60)
    assert (recipe.decay, recipe.weight_decay, recipe.clip, recipe.ema) == (0.4, 2e-2, 2.0, 0.998)
    assert (recipe.amp, recipe.seed, recipe.chips.crop) == ("bf16", 1, 320)
    assert (recipe.chips.generated, recipe.chips.generated_share) == (350, 0.15)
    assert (RECIPES / recipe.split).exists()


def test_the_student_learns_from_what_its_teacher_learnt_from():
    teacher, student = read("accurate"), read("fast")
    assert student.distil.teachers == (teacher.name,)
    assert student.split == teacher.split
    options = [dataclasses.replace(recipe.chips, crop=0) for recipe in (teacher, student)]
    assert options[0] == options[1]


#: Those that split pairs; chips and Open Cities have files of tests of their own.
APART = ("cross_modal_chips", "open_cities")
OF_TRAIN = [path for path in sorted(RECIPES.glob("*.toml")) if not path.stem.startswith(APART)]


@pytest.mark.parametrize("path", OF_TRAIN, ids=lambda path: path.stem)
def test_a_recipe_says_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    head = " ".join(text.partition("name =")[0].replace("#", "").replace("\\", "").split())
    if path.stem != "compact":
        assert f"training.train training/recipes/{path.name} --data" in head
        scheme = head.partition("--split ")[2].split()[0]
        assert scheme in SCHEMES
    assert max(map(len, text.splitlines())) <= 100


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Four drawn pairs of two events, and a split of them."""
    folder = tmp_path_factory.mktemp("xbd")
    write_split(folder / "split.csv", make_pairs(folder, size=128, sar=True))
    return folder


#: What makes any recipe small enough to be tried.
SMALL = [
    "steps=2", "epochs=0", 'amp="none"', "workers=0", "validate_on=1", "validate_every=1",
    "distil_teachers=[]", 'distil_tta="none"',
    'init=""', "pretrained=false", "network_options=[]",
]  # fmt: skip


def small(recipe):
    """Return overrides: small crops, and the smallest batch that the recipe can do with."""
    batch = f"batch={recipe.meta.size if recipe.algorithm == 'maml' else 2}"
    if recipe.network in COMPACT:
        kinds = ("half", "masked", "unlabelled")
        alone = ["chips_generated=0", *(f"chips_{kind}_share=0.0" for kind in kinds)]
        return [*SMALL, batch, "chips_crop=64", *alone]
    return [*SMALL, batch, "augmentation_crop=64"]


def tiny_network(name, *, task, pretrained=False):
    if name in LITES:
        return LiteSiamese(name, blocks=6, decoder=(16, 16, 16))
    if name in COMPACT:
        # Not narrower: on a CPU torch 2.15 writes past its memory in the gradient of a 1 x 1
        # convolution of stride 2 in channels_last with fewer than 16 channels.
        family = CompactTwoSensors if name == TWO_SENSORS else CompactSiamese
        return family(widths=(16, 16, 16, 16), decoder=(16, 16, 16))
    channels = {"localisation": (3, 1), "damage": (6, 5), "assess": (6, 8)}
    return nn.Conv2d(*channels[task], 1)


def train_two_steps(name, data, runs, overrides):
    """Run a recipe's own training on the split in a folder; return what it worked on."""
    options = argparse.Namespace(
        recipe=RECIPES / f"{name}.toml", data=data, split=runs.parent / "split.csv",
        runs=runs, device="cpu", set=overrides, half=None, masked=None, unlabelled=None,
    )  # fmt: skip
    work, state = set_up(options)
    before = [weight.detach().clone() for weight in state.network.parameters()]
    reports = list(train(work, state))
    assert [report.step for report in reports] == [1, 2]
    judged_by = reports[-1].row[work.recipe.metric]
    assert np.isfinite([*(report.loss for report in reports), judged_by]).all()
    after = list(state.network.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return work


def write_split(path, names):
    """Let the last pair validate what is learnt from the others."""
    parts = ["train"] * (len(names) - 1) + ["validation"]
    rows = [f"{n},{n.rpartition('_')[0]},,{p}\n" for n, p in zip(names, parts, strict=True)]
    path.write_text("pair,event,folder,part\n" + "".join(rows))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_trains_two_steps_on_drawn_pairs(name, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr("training.state.create_network", tiny_network)
    shutil.copyfile(drawn / "split.csv", tmp_path / "split.csv")
    train_two_steps(name, drawn, tmp_path / "runs", small(read(name)))
    run = tmp_path / "runs" / name
    assert (run / "best").exists()
    assert Recipe.read(run / "recipe.toml") == read(name, *small(read(name)))


@pytest.mark.slow
@pytest.mark.data
@needs("xbd")
@pytest.mark.parametrize("name", ["meta_learning", *REPRESENTATIVES])
def test_a_recipe_trains_two_steps_on_real_pairs(name, tmp_path, monkeypatch):
    monkeypatch.setattr("training.state.create_network", tiny_network)
    pairs = find_pairs(DATA / "xbd")
    events = ("hurricane-michael", "santa-rosa-wildfire")
    chosen = [[pair.name for pair in pairs if pair.event == event][:2] for event in events]
    write_split(
        tmp_path / "split.csv", [name for pair in zip(*chosen, strict=True) for name in pair]
    )
    # Crops as published.
    overrides = [each for each in small(read(name)) if "_crop" not in each]
    work = train_two_steps(name, DATA / "xbd", tmp_path / "runs", overrides)
    assert work.recipe.augmentation == read(name).augmentation


def losses_on_one_batch(name, drawn, steps, *overrides):
    """Return the loss of each step on one batch: the recipe's network, loss, rate and clip."""
    recipe = read(name, *small(read(name)), *overrides)
    pairs, _ = read_parts(recipe, drawn / "split.csv", drawn)
    pixels = count_pixels(recipe, pairs)
    torch.manual_seed(1)
    network = create_network(recipe.network, task=recipe.task).train()
    objective = make_objective(recipe, pixels.sum(0))
    samples = make_samples(recipe, pairs, pixels)
    batch = stack([samples.draw(number) for number in range(recipe.batch)])
    optimiser = torch.optim.AdamW(network.parameters(), recipe.lr)
    losses = []
    for _ in range(steps):
        torch.manual_seed(1)  # the same dropout in every step
        loss = objective(network, batch)
        loss.backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize(
    "name",
    [
        name if name == "compact" else pytest.param(name, marks=pytest.mark.slow)
        for name in REPRESENTATIVES
    ],
)
def test_the_loss_falls_on_one_batch(name, drawn):
    share, steps = REPRESENTATIVES[name]
    losses = losses_on_one_batch(name, drawn, steps)
    assert losses[-1] < share * losses[0], losses


#: One recipe of every network that has not been tried above. MetaDamageNet's four of that prefix
#: are those of the first place in another wrapping.
ONE_EACH = list(
    {
        recipe.network: recipe.name
        for recipe in map(read, NAMES)
        if not recipe.network.startswith("metadamagenet_")
        and recipe.network not in {read(name).network for name in REPRESENTATIVES}
    }.values()
)


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_EACH)
def test_every_network_learns_by_its_recipe(name, drawn):
    # Three steps: the first of the SENet-154, all of whose weights move at once, overshoots.
    losses = losses_on_one_batch(name, drawn, 3)
    assert losses[-1] < losses[0], losses


@pytest.mark.slow
def test_meta_learning_learns_through_the_inner_steps(drawn):
    # On a single crop of 64 pixels the last batch normalisations see four pixels: too steep to try.
    first, second = losses_on_one_batch(
        "meta_learning", drawn, 2, "augmentation_crop=128", "meta_inner_steps=2"
    )
    assert second < first


def test_the_script_for_slurm_starts_torchrun_on_every_gpu(tmp_path):
    script = ROOT / "training" / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)
    for command, does in {"srun": 'printf "%s\\n" "$@"', "scontrol": "echo one; echo two"}.items():
        (tmp_path / command).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / command).chmod(0o755)
    job = {
        "SLURM_GPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "32", "SLURM_JOB_NODELIST": "any[1-2]",
        "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "100007",
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    arguments = ["my recipe.toml", "--data", "xbd"]
    run = ["bash", script, *arguments]
    said = subprocess.run(run, env=job, capture_output=True, text=True, check=True).stdout
    words = said.splitlines()
    assert words[words.index("torchrun") + 1 :] == [
        "--nnodes=2", "--nproc-per-node=4", "--rdzv-id=100007", "--rdzv-backend=c10d",
        "--rdzv-endpoint=one:20007", "-m", "training.train", "--set", "workers=8", *arguments,
    ]  # fmt: skip
    del job["SLURM_GPUS_ON_NODE"]
    refused = subprocess.run(run, env=job, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "--gpus-per-node" in refused.stderr
