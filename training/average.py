r"""Average the weights of runs of one network: what one has learnt, without losing another's.

    python -m training.average runs/drawn=3 runs/cloud=1 -o runs/mean
    python -m training.average runs/release=1 runs/pasted=1 runs/mean=-1 -o runs/release_pasted

A share below 0 takes away: the second command adds to a release what another run of its family has
learnt since it began, without a training of its own.

The runs must descend from one another, or from the same run: weights of separate beginnings have
nothing in common. The result is a run folder with the recipe and the split of the first. Its score
is unknown until `training.calibrate` has measured it.
"""

# Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), equation 1. Of
# differences: Ilharco et al. 2023, "Editing models with task arithmetic", section 2.

import argparse
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from geodamage.errors import CheckpointError, GeodamageError, OptionError, OutputExistsError
from geodamage.networks import create_network, save_checkpoint
from training.predictor import Trained, read_trained

#: What a run folder needs besides its weights to be exported.
KEPT = ("recipe.toml", "split.csv", "split.sha256", "commit.txt")


def parse_share(text: str) -> tuple[Path, float]:
    """Read `RUN=SHARE`.

    Raises
    ------
    OptionError
        If it is none, or the share is 0 or no number.
    """
    name, equals, share = text.rpartition("=")
    try:
        value = float(share)
    except ValueError:
        value = 0.0
    if not equals or value == 0 or not math.isfinite(value):
        raise OptionError(f"{text!r}: give RUN=SHARE with a share other than 0, such as mine=1")
    return Path(name), value


def mean_of(members: Sequence[tuple[Trained, float]]) -> nn.Module:
    """Return the network with the weighted mean of all weights and running statistics.

    Raises
    ------
    CheckpointError
        If the members are not of one network, or a running variance would be negative.
    """
    first = members[0][0].checkpoint
    total = sum(share for _, share in members)
    mean: dict[str, Tensor] = {}
    for trained, share in members:
        held = trained.checkpoint
        shapes = {name: value.shape for name, value in held.state.items()}
        if (held.network, held.task) != (first.network, first.task) or shapes != {
            name: value.shape for name, value in first.state.items()
        }:
            raise CheckpointError(
                f"{trained.source}: {held.network} for {held.task}, other weights than those of "
                f"{members[0][0].source}; average runs of one network"
            )
        for name, value in held.state.items():
            if value.is_floating_point():
                part = value.double() * (share / total)
                mean[name] = mean[name] + part if name in mean else part
    recipe = members[0][0].recipe
    options = recipe.options if recipe else dict(first.options)
    network = create_network(first.network, task=first.task, **options)
    counters = {n: v for n, v in first.state.items() if not v.is_floating_point()}
    network.load_state_dict({n: v.float() for n, v in mean.items()} | counters)
    _mend_variances(network)
    return network


def _mend_variances(network: nn.Module) -> None:
    """Make 0 of running variances that differences have left below it, by less than is added."""
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            if float(module.running_var.min()) < -module.eps:
                raise CheckpointError(f"{name}: a variance below 0; take away less")
            module.running_var.clamp_(min=0)


def average(members: Sequence[tuple[Path, float]], output: Path) -> None:
    """Write the run folder of the mean.

    Raises
    ------
    CheckpointError
        If a run has no weights, or the networks differ.
    OptionError
        If fewer than two runs are given, or the first is no run folder.
    OutputExistsError
        If `output` is there.
    """
    if len(members) < 2:
        raise OptionError("give two runs or more; one needs no mean")
    if sum(share for _, share in members) <= 0:
        raise OptionError("the shares add up to 0 or less; take away less than there is")
    if output.exists():
        raise OutputExistsError(f"{output}: is there; choose another name")
    source = members[0][0]
    if not (source / "recipe.toml").exists():
        raise OptionError(f"{source}: no run folder; the first must be one, for its recipe")
    with torch.no_grad():
        network = mean_of([(read_trained(path), share) for path, share in members])
    output.mkdir(parents=True)
    for name in KEPT:
        if (source / name).exists():
            shutil.copyfile(source / name, output / name)
    save_checkpoint(network, output / "best", epoch=0, best_score=float("nan"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN=SHARE", help="run folder and its share")
    parser.add_argument("-o", "--output", type=Path, required=True, help="run folder to write")
    options = parser.parse_args(arguments)
    try:
        average([parse_share(text) for text in options.runs], options.output)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.average: error: {error}\n")
    print(f"{options.output}: mean of {', '.join(options.runs)}")


if __name__ == "__main__":
    main(sys.argv[1:])
