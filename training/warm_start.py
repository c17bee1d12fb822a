r"""Make a checkpoint of a model file, from which training goes on.

    python -m training.warm_start fast training/recipes/accurate.toml --data ../shared/data/xbd \
        -o runs/fast_start

A model file has no batch normalisation: it was folded into the convolutions before it. Here it is
put back, with the statistics of the recipe's own samples, so that the network answers as the file
does and can be trained. Only networks of the recipe's own architecture fit.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from geodamage.errors import GeodamageError, ModelError, OptionError, OutputExistsError
from geodamage.model.loading import find_model
from geodamage.networks import create_network
from geodamage.networks.checkpoints import save_checkpoint
from geodamage.networks.registry import Task, example
from geodamage.xbd.folders import Pair
from training.data.masked import More, add_more, more_of
from training.data.samples import batches
from training.examples import count_pixels, make_samples, read_parts
from training.extras import optional
from training.objectives import exported
from training.recipe import Recipe

#: Batches that the statistics are taken of: 24 of 6 chips are 15 million pixels.
BATCHES = 24


def convolutions_of(network: nn.Module, images: Sequence[Tensor]) -> list[nn.Conv2d]:
    """Return the convolutions of a network in the order in which they first run."""
    seen: dict[nn.Conv2d, None] = {}

    def note(module: nn.Module, inputs: Any) -> None:
        assert isinstance(module, nn.Conv2d)
        seen.setdefault(module)

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_pre_hook(note) for module in convolutions]
    with torch.no_grad():
        network.eval()(*images)
    for hook in hooks:
        hook.remove()
    return [*seen]


def folded_weights(model: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weight and bias of every convolution of an ONNX graph, each once, in its order."""
    onnx = optional("onnx", "train")
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    names = dict.fromkeys(
        tuple(node.input[1:3]) for node in model.graph.node if node.op_type == "Conv"
    )
    if any(len(pair) < 2 or not {*pair} <= held.keys() for pair in names):
        raise ModelError("a convolution without a bias, or without weights of its own")
    return [
        (onnx.numpy_helper.to_array(held[w]), onnx.numpy_helper.to_array(held[b])) for w, b in names
    ]


def take_folded(
    network: nn.Module, images: Sequence[Tensor], weights: Sequence[tuple[np.ndarray, np.ndarray]]
) -> None:
    """Put folded weights into a network; its batch normalisation then adds the bias alone.

    Raises
    ------
    ModelError
        If the number or the shapes of the convolutions differ.
    """
    layers = convolutions_of(network, images)
    shapes = [tuple(layer.weight.shape) for layer in layers]
    given = [weight.shape for weight, _ in weights]
    if shapes != given:
        raise ModelError(
            f"its {len(given)} convolutions are not the {len(shapes)} of the recipe's network; "
            "name the network that the model was made of"
        )
    norms = dict(_normalised(network))
    with torch.no_grad():
        for layer, (weight, bias) in zip(layers, weights, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.copy()))
            if layer.bias is not None:
                layer.bias.copy_(torch.from_numpy(bias.copy()))
                continue
            norm = norms[layer]
            _set(norm, torch.zeros(len(bias)), 1 - norm.eps, 1.0, torch.from_numpy(bias.copy()))


def _normalised(network: nn.Module) -> Iterator[tuple[nn.Module, nn.BatchNorm2d]]:
    """Yield each convolution whose output goes into a batch normalisation, and that."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for first, second in itertools.pairwise(module):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    yield first, second


def _set(norm: nn.BatchNorm2d, mean: Tensor, variance: Any, weight: Any, bias: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(torch.as_tensor(variance).expand_as(norm.running_var))
    norm.weight.copy_(torch.as_tensor(weight).expand_as(norm.weight))
    norm.bias.copy_(bias)


def restore_statistics(network: nn.Module, drawn: Iterable[Sequence[Tensor]]) -> None:
    """Give batch normalisation the statistics of samples; what the network says stays the same.

    Parameters
    ----------
    network
        With folded weights, as `take_folded` leaves it.
    drawn
        Inputs of the network, batch by batch.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        values = inputs[0].double()
        moments = [torch.ones_like(values), values, values.square()]
        sums[norm] += torch.stack([moment.sum((0, 2, 3)) for moment in moments])

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    with torch.no_grad():
        for inputs in drawn:
            network.eval()(*inputs)
        for hook in hooks:
            hook.remove()
        for norm in norms:
            count, first, second = sums[norm]
            mean = first / count
            variance = (second / count - mean.square()).clamp(min=0)
            # y = x + bias before, and so it is after: the scale undoes what the variance does.
            scale = (variance + norm.eps).sqrt()
            _set(norm, mean.float(), variance.float(), scale.float(), norm.bias + mean.float())


def warm_start(source: str, recipe: Recipe, drawn: Iterable[Sequence[Tensor]]) -> nn.Module:
    """Return the recipe's network with the weights of a model file.

    Parameters
    ----------
    source
        Name of a bundled model, or a file.
    drawn
        Inputs of the network, batch by batch, as training scales them.

    Raises
    ------
    ModelError
        If the file is of another network.
    """
    onnx = optional("onnx", "train")
    path = find_model(source)
    network = create_network(recipe.network, task=recipe.task, **recipe.options)
    try:
        weights = folded_weights(onnx.load(path))
        take_folded(network, example(recipe.network, cast(Task, recipe.task)), weights)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    restore_statistics(network, drawn)
    return network


def recipe_inputs(recipe: Recipe, data: Path, split: Path, more: More) -> Iterator[list[Tensor]]:
    """Yield the inputs of the network for the first batches of a recipe."""
    if recipe.sampling != "chips":
        raise OptionError(
            f"{recipe.name}: only recipes with sampling = 'chips' start from a model file"
        )
    learnt, _ = read_parts(recipe, split, data)
    pairs = [pair for pair in learnt if isinstance(pair, Pair)]
    samples = make_samples(recipe, pairs, count_pixels(recipe, pairs), more)
    scaling = exported(nn.Identity(), recipe)
    size = recipe.batch
    numbers = ([*range(i * size, (i + 1) * size)] for i in range(BATCHES))
    for batch in batches(samples, lambda: numbers):
        yield [scaling.scaled(batch[name]) for name in scaling.convention.inputs]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="model file, or the name of a bundled one")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the split speaks of")
    parser.add_argument("--split", type=Path, help="split file, instead of the recipe's")
    add_more(parser)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        if options.output.exists():
            raise OutputExistsError(f"{options.output}: is there; choose another name")
        recipe = Recipe.read(options.recipe)
        split = options.split or options.recipe.parent / recipe.split
        drawn = recipe_inputs(recipe, options.data, split, more_of(options))
        network = warm_start(options.model, recipe, drawn)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(network, options.output, epoch=0, best_score=float("nan"))
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.warm_start: error: {error}\n")
    print(f"{options.output}: {options.model}, with batch normalisation, as {recipe.network}")


if __name__ == "__main__":
    main(sys.argv[1:])
