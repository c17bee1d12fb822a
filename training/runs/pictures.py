"""Pictures of a run: validation pairs beside what the network says of them, and its curves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geodamage.damage import COLOURS, DamageGrade, rgb
from training.data.labelled import Sample
from training.data.overlay import BUILDING, GREY, overlay
from training.extras import optional

#: Rows and columns of one image, pixels.
SIZE = 384
GAP = 6
#: Rows of the titles above and the colours below.
STRIP = 28
INK = (40, 40, 40)
#: Points of the curve of losses; more than the picture has room for says no more.
POINTS = 200
#: Colours of figures; those of the grades are the scale's, which curves of all runs share.
INKS = {
    "score": "black",
    "f1_building": "#3c78ff",
    "dice": "#86b0ff",
    "f1_damage": "#7b3294",
    "f1_no_damage": COLOURS[DamageGrade.NO_DAMAGE],
    "f1_minor": COLOURS[DamageGrade.MINOR],
    "f1_major": COLOURS[DamageGrade.MAJOR],
    "f1_destroyed": COLOURS[DamageGrade.DESTROYED],
}
#: A validated pair: truth, buildings found, their grades.
Answer = tuple[Sample, np.ndarray, np.ndarray | None]


def sample_sheet(answers: Iterable[Answer]) -> np.ndarray | None:
    """Lay out validation pairs, one a row: pre, post, truth, prediction.

    Parameters
    ----------
    answers
        Answers of `training.validation.validate`; without grades, `post` is left out.

    Returns
    -------
    uint8 (rows, columns, 3) or None
        None without answers.
    """
    rows, graded = [], True
    for sample, found, grades in answers:
        graded = grades is not None
        if sample.post is not None and sample.post.shape[2] == 1:  # of a radar
            sample = replace(sample, post=np.repeat(sample.post, 3, 2))
        cells = _cells(sample, found, grades)
        rows.append(_joined([_fitted(cell) for cell in cells], axis=1))
    if not rows:
        return None
    titles = ("pre", "post", "truth", "prediction") if graded else ("pre", "truth", "prediction")
    width = rows[0].shape[1]
    return np.vstack([_titles(titles, width), _joined(rows, axis=0), _key(width, graded=graded)])


def _cells(sample: Sample, found: np.ndarray, grades: np.ndarray | None) -> list[np.ndarray]:
    nothing = np.zeros_like(sample.grades)
    grey = sample.recoloured(_dim)
    if grades is None or sample.post is None:
        truth = replace(grey, post=None, grades=nothing)
        said = replace(truth, buildings=found.astype(np.uint8))
        return [sample.pre, overlay(truth), overlay(said)]
    said = replace(grey, grades=np.where(found, grades, 0).astype(np.uint8), buildings=nothing)
    return [sample.pre, sample.post, overlay(grey), overlay(said)]


def _dim(image: np.ndarray) -> np.ndarray:
    """Return an image dark and without colours.

    Trees are as green as what is whole, and what has no grade is grey.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) * 0.6
    return np.repeat(grey.astype(np.uint8)[..., None], 3, 2)


def _fitted(image: np.ndarray) -> np.ndarray:
    """Return an image in a square of `SIZE`, its sides to scale."""
    scale = SIZE / max(image.shape[:2])
    rows, columns = (max(round(length * scale), 1) for length in image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    cell = np.full((SIZE, SIZE, 3), 255, np.uint8)
    cell[:rows, :columns] = cv2.resize(image, (columns, rows), interpolation=how)
    return cell


def _joined(images: Sequence[np.ndarray], *, axis: int) -> np.ndarray:
    shape = list(images[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for image in images for part in (gap, image)]
    return np.concatenate(parts[1:], axis)


def _titles(titles: Sequence[str], width: int) -> np.ndarray:
    strip = np.full((STRIP, width, 3), 255, np.uint8)
    for number, title in enumerate(titles):
        _write(strip, title, number * (SIZE + GAP) + 4)
    return strip


def _key(width: int, *, graded: bool) -> np.ndarray:
    """Return a strip that says what the colours are."""
    strip = np.full((STRIP, width, 3), 255, np.uint8)
    entries = [("building", BUILDING)]
    if graded:
        entries = [(grade.label, rgb(colour)) for grade, colour in COLOURS.items()]
        entries += [("no grade", GREY), ("standing before, no outline after", BUILDING)]
    left = 4
    for name, colour in entries:
        strip[7:21, left : left + 14] = colour
        left = _write(strip, name, left + 20) + 24
    return strip


def _write(strip: np.ndarray, text: str, left: int) -> int:
    """Write on a strip; return the column where the text ends."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, text, (left, 19), font, 0.5, INK, 1, cv2.LINE_AA)
    return left + int(cv2.getTextSize(text, font, 0.5, 1)[0][0])


def write_png(path: Path, image: np.ndarray) -> None:
    """Write a picture in place of the one that is there, complete or not at all.

    Unlike other results these belong to a run that goes on, and are made again.
    """
    written = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1]
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(written.tobytes())
    partial.replace(path)


def binned(
    steps: Sequence[int], losses: Sequence[float], points: int = POINTS
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Smooth losses: cut them into at most `points` runs of equal length.

    Returns
    -------
    tuple of float64 (n,)
        Middle step of each run; mean, 10th and 90th percentile of its losses.
    """
    count = min(points, max(len(steps) // 5, 1))
    parts = np.array_split(np.asarray(losses, np.float64), count)
    middles = [float(part.mean()) for part in np.array_split(np.asarray(steps), count)]
    low, high = (np.array([np.percentile(part, q) for part in parts]) for q in (10, 90))
    return np.array(middles), np.array([part.mean() for part in parts]), low, high


def draw_curve(
    path: Path,
    steps: Sequence[int],
    losses: Sequence[float],
    series: Mapping[str, Sequence[tuple[int, float]]],
    *,
    title: str,
    best: tuple[str, int, float] | None = None,
) -> None:
    """Draw the loss of every step, and under it the figures of the validations.

    Parameters
    ----------
    path
        PNG, which is replaced.
    series
        Steps and values of each figure by its name; `loss`, of the validations, goes to the upper
        half.
    best
        Name, step and value of the figure that chose the best checkpoint.
    """
    figure = optional("matplotlib.figure", "train").Figure(figsize=(9, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_losses(upper, steps, losses, series.get("loss", ()))
    upper.set_title(title, loc="left", fontsize=11)
    names = [name for name in series if name not in ("loss", "train_loss", "epoch", "lr")]
    for name in names:
        chosen = best is not None and name == best[0]
        width, order = (2.4, 3) if chosen else (1.2, 2)
        points = zip(*series[name], strict=True)
        ink = INKS.get(name)
        lower.plot(*points, ".-", color=ink, label=name, lw=width, zorder=order)
    if best is not None:
        above = upper if best[0] == "loss" else lower
        above.plot(
            *best[1:], "*", color="black", mfc="white", ms=13, zorder=4, label=_best_text(best)
        )
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    lower.set(xlabel="step", ylabel="validation")
    _save(figure, path)


def _best_text(best: tuple[str, int, float]) -> str:
    return f"best {best[0]} {best[2]:.4f}\n(step {best[1]:,})"


def _draw_losses(
    axes: Any, steps: Sequence[int], losses: Sequence[float], held_out: Sequence[tuple[int, float]]
) -> None:
    if len(steps):
        middles, mean, low, high = binned(steps, losses)
        axes.fill_between(middles, low, high, alpha=0.2, lw=0, label="10-90 % of steps")
        axes.plot(middles, mean, lw=1.6, label="training, mean")
        # Losses that fall far are a flat line on a plain scale; some losses are below nothing.
        if low.min() > 0 and high.max() > 10 * low.min():
            axes.set_yscale("log", subs=(2, 5))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("{x:g}")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), ".-", label="validation")
    axes.set_ylabel("loss")


def _save(figure: Any, path: Path) -> None:
    # A canvas of its own: pyplot keeps figures for the whole process.
    canvas = optional("matplotlib.backends.backend_agg", "train").FigureCanvasAgg(figure)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        canvas.print_figure(file, format="png", dpi=110)
    partial.replace(path)
