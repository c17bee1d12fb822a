"""Means of weights: each tensor between those of its runs, refused where networks differ."""

import pytest
import torch

from geodamage.networks import create_network, load_checkpoint, save_checkpoint
from training.average import average, main, parse_share
from training.predictor import read_trained

RECIPE = """name = "{name}"
network = "{network}"
task = "assess"
sampling = "chips"
steps = 2
batch = 2
chips_crop = 64
chips_generated = 0
split = "compact.csv"
"""


def make_run(folder, seed, network="compact_small"):
    torch.manual_seed(seed)
    folder.mkdir()
    made = create_network(network, task="assess")
    (folder / "recipe.toml").write_text(RECIPE.format(name=folder.name, network=network))
    (folder / "split.csv").write_text("pair,event,place,part\n")
    (folder / "commit.txt").write_text("abc\n")
    save_checkpoint(made, folder / "best", epoch=1, best_score=0.5)
    return made.state_dict()


def test_the_mean_has_the_shares_that_were_asked_for(tmp_path, capsys):
    a, b = make_run(tmp_path / "a", 1), make_run(tmp_path / "b", 2)
    main([f"{tmp_path}/a=3", f"{tmp_path}/b=1", "-o", f"{tmp_path}/runs/mean"])
    assert "mean of" in capsys.readouterr().out
    mean = load_checkpoint(tmp_path / "runs/mean/best").state_dict()
    assert mean.keys() == a.keys()
    for name, value in mean.items():
        if value.is_floating_point():
            assert torch.allclose(value, 0.75 * a[name] + 0.25 * b[name], atol=1e-6)
    kept = {path.name for path in (tmp_path / "runs/mean").iterdir()}
    assert kept == {"best", "recipe.toml", "split.csv", "commit.txt"}
    recipe = (tmp_path / "runs/mean/recipe.toml").read_text()
    assert recipe == (tmp_path / "a/recipe.toml").read_text()


@pytest.mark.parametrize("text", ["runs/a", "runs/a=", "runs/a=0", "runs/a=nan", "runs/a=inf"])
def test_a_share_is_a_number_other_than_0(text, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([text, "b=1", "-o", str(tmp_path / "x")])
    assert "RUN=SHARE" in capsys.readouterr().err


def test_what_a_run_has_learnt_is_added_to_another(tmp_path):
    weights = [make_run(tmp_path / name, seed) for seed, name in enumerate("abc")]
    runs = [f"{tmp_path}/{name}={share}" for name, share in zip("abc", (1, 1, -1), strict=True)]
    main([*runs, "-o", f"{tmp_path}/sum"])
    for name, value in load_checkpoint(tmp_path / "sum/best").state_dict().items():
        if value.is_floating_point():
            a, b, c = (one[name] for one in weights)
            assert torch.allclose(value, a + b - c, atol=1e-5)


def test_a_variance_is_not_negative(tmp_path, capsys):
    make_run(tmp_path / "a", 1)
    state = make_run(tmp_path / "b", 2)
    wide = create_network("compact_small", task="assess")
    wide.load_state_dict(
        {name: value * 9 if name.endswith("running_var") else value
         for name, value in state.items()}
    )  # fmt: skip
    save_checkpoint(wide, tmp_path / "b" / "best", epoch=1, best_score=0.5)
    with pytest.raises(SystemExit):
        main([f"{tmp_path}/a=1.5", f"{tmp_path}/b=-0.5", "-o", f"{tmp_path}/x"])
    assert "a variance below 0" in capsys.readouterr().err
    run = [f"{tmp_path}/a=1.0001", f"{tmp_path}/b=-0.0001", "-o", f"{tmp_path}/y"]
    main(run)  # 1.0001 - 0.0009
    assert (tmp_path / "y" / "best").is_file()


def test_what_is_lost_in_the_sum_is_no_variance(tmp_path):
    for number, (name, variance) in enumerate({"a": 1e-7, "b": 2e-7, "c": 4e-7}.items()):
        state = make_run(tmp_path / name, number)
        small = create_network("compact_small", task="assess")
        small.load_state_dict(
            {key: torch.full_like(value, variance) if key.endswith("running_var") else value
             for key, value in state.items()}
        )  # fmt: skip
        save_checkpoint(small, tmp_path / name / "best", epoch=1, best_score=0.5)
    runs = [f"{tmp_path}/{name}={share}" for name, share in zip("abc", (1, 1, -1), strict=True)]
    main([*runs, "-o", f"{tmp_path}/sum"])
    state = load_checkpoint(tmp_path / "sum/best").state_dict()
    variances = [value for key, value in state.items() if key.endswith("running_var")]
    assert variances
    assert all(bool((value == 0).all()) for value in variances)


def test_a_name_may_hold_an_equals_sign():
    assert parse_share("runs/lr=1e-3=2")[0].name == "lr=1e-3"


def test_what_has_no_mean_is_refused(tmp_path, capsys):
    make_run(tmp_path / "a", 1)
    make_run(tmp_path / "b", 2, network="compact")
    (tmp_path / "bare").mkdir()
    for runs, said in (
        (["a=1"], "two runs"),
        (["a=1", "a=-1"], "add up to 0"),
        (["a=1", "b=1"], "runs of one network"),
        (["bare=1", "a=1"], "no run folder"),
        (["a=1", "missing=1"], "no such file"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([*(f"{tmp_path}/{run}" for run in runs), "-o", f"{tmp_path}/mean"])
        assert ended.value.code
        assert said in capsys.readouterr().err
        assert not (tmp_path / "mean").exists()
    make_run(tmp_path / "c", 3)
    with pytest.raises(SystemExit):
        main([f"{tmp_path}/a=1", f"{tmp_path}/c=1", "-o", f"{tmp_path}/b"])
    assert "is there" in capsys.readouterr().err


def test_the_mean_can_be_read_as_a_run(tmp_path):
    for seed in (1, 2):
        make_run(tmp_path / str(seed), seed)
    average([(tmp_path / "1", 1), (tmp_path / "2", 1)], tmp_path / "mean")
    assert read_trained(tmp_path / "mean").checkpoint.network == "compact_small"
