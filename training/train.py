"""Train the compact network.

    python -m training.train training/recipes/compact.toml --data ../shared/data/xbd

The same command resumes a run that was stopped. A run folder holds the resolved recipe, the
commit, a log (CSV) and the last checkpoint.
"""

import argparse
import csv
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geodamage.networks.compact import CompactSiamese
from geodamage.xbd import read_split
from training.chips import LabelledPair, chips, draw_generated, load_pair
from training.evaluate import Predictor, tally
from training.losses import damage_loss, localisation_loss
from training.recipe import Recipe, as_toml


def normalise(images: Tensor) -> Tensor:
    """Bring uint8 to about -1..1."""
    return images.float() / 127.5 - 1


def as_tensors(batch: list[tuple[np.ndarray, ...]], device: torch.device) -> list[Tensor]:
    """Stack chips; images become (n, 3, h, w)."""
    stacked = [torch.from_numpy(np.stack(arrays)) for arrays in zip(*batch, strict=True)]
    return [
        (
            t.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            if t.ndim == 4
            else t
        ).to(device, non_blocking=True)
        for t in stacked
    ]


def learning_rate(step: int, recipe: Recipe) -> float:
    """Rise linearly, stay, fall to nothing: a run can be made longer while it is still high."""
    rising = (step + 1) / recipe.warmup
    falling = (recipe.steps - step) / max(recipe.decay * recipe.steps, 1)
    return recipe.lr * min(1.0, rising, falling)


def update_average(average: CompactSiamese, network: CompactSiamese, decay: float) -> None:
    """Move the averaged weights a little towards the network's."""
    with torch.no_grad():
        values = network.state_dict()
        for name, mean in average.state_dict().items():
            value = values[name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def predictor(network: CompactSiamese, device: torch.device) -> Predictor:
    """Wrap a network for evaluation on whole images."""

    def predict(pre: np.ndarray, post: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        network.eval()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            images = as_tensors([(pre, post)], device)
            building, _, damage = network(*(normalise(image) for image in images))
            damage = damage.float().softmax(1).repeat_interleave(2, 2).repeat_interleave(2, 3)
            return building[0, 0].float().sigmoid().cpu().numpy(), damage[0].cpu().numpy()

    return predict


def training_pairs(recipe: Recipe, split: Path, data: Path) -> Iterator[LabelledPair]:
    """Load the real pairs of the training part, then draw the generated ones."""
    for pair in read_split(split, data, "train"):
        yield load_pair(pair)
    for number in range(recipe.generated):
        yield draw_generated(number)


def main() -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of xBD images and labels")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    recipe = Recipe.read(options.recipe, options.set)
    run = options.runs / recipe.name
    run.mkdir(parents=True, exist_ok=True)
    (run / "recipe.toml").write_text(as_toml(recipe))
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, capture_output=True, text=True, check=False)
    (run / "git.txt").write_text(commit.stdout)

    device = torch.device(options.device)
    torch.manual_seed(recipe.seed)
    network = CompactSiamese().to(device).to(memory_format=torch.channels_last)
    average = CompactSiamese().to(device).to(memory_format=torch.channels_last)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    step = 0
    checkpoint = run / "last.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step = state["step"]
        print(f"resuming at step {step}")

    split = options.recipe.parent / recipe.split
    held_out = [load_pair(pair) for pair in read_split(split, options.data, "validation")]
    pairs = list(training_pairs(recipe, split, options.data))
    print(f"{len(pairs)} pairs to train on, {len(held_out)} to validate", flush=True)
    # Another stream of chips after each resume, never the same ones again.
    stream = chips(pairs, recipe, np.random.default_rng([recipe.seed, step]))
    grade_weights = torch.tensor(recipe.grade_weights, device=device)
    running, started = 0.0, time.monotonic()
    while step < recipe.steps:
        batch = as_tensors([next(stream) for _ in range(recipe.batch)], device)
        pre, post, building, weights, damage, vote, standing = batch
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, recipe)
        network.train()
        with torch.autocast(device.type, torch.bfloat16):
            in_pre, in_post, grades = network(normalise(pre), normalise(post))
        asked = (standing <= 1).float()
        loss = recipe.localisation_weight * localisation_loss(in_pre, building, weights)
        still = localisation_loss(in_post, standing * (standing <= 1), asked)
        loss = loss + recipe.post_weight * still
        loss = loss + recipe.damage_weight * damage_loss(grades, damage, vote, grade_weights)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        step += 1
        update_average(average, network, min(recipe.ema, step / (step + 10)))
        running += float(loss.detach())
        if step % 50 == 0:
            pace = (time.monotonic() - started) / 50
            print(f"step {step}  loss {running / 50:.4f}  {pace:.2f} s a step", flush=True)
            running, started = 0.0, time.monotonic()
        if step % recipe.evaluate_every == 0 or step == recipe.steps:
            scores = tally(held_out, predictor(average, device)).row()
            log(run / "log.csv", {"step": step, **scores})
            save(checkpoint, network, average, optimiser, step)
            started = time.monotonic()


def log(path: Path, row: dict[str, float]) -> None:
    """Append one row to the log and print it."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        table = csv.DictWriter(file, row)
        if fresh:
            table.writeheader()
        table.writerow({key: round(value, 5) for key, value in row.items()})
    print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)


def save(
    path: Path,
    network: CompactSiamese,
    average: CompactSiamese,
    optimiser: torch.optim.Optimizer,
    step: int,
) -> None:
    """Write a checkpoint beside the last one, then replace it."""
    partial = path.with_suffix(".partial")
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
    }
    torch.save(state, partial)
    partial.replace(path)


if __name__ == "__main__":
    main()
