r"""Index an xBD download, check it, and split it.

    python -m training.prepare xbd -o prepared --split place
    python -m training.prepare xbd/train xbd/tier3 xbd/hold -o prepared --split events --masks

A folder is one with `images/` and `labels/`, or an xBD download with train (or tier1), tier3, test
and hold. The output folder gets `index.csv` (every usable pair), `problems.csv` (the others, and
why), `split.csv`, `counts.json` (classes and their weights) and `classes.png`. With --masks it also
gets a target for every label file.

Tiles of one event overlap on the ground. A split that shows the same ground in two parts is
refused. --accept-overlap allows it, as the published random split needs.
"""

import argparse
import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geodamage.damage import COLOURS, GRADES, LABELS
from geodamage.errors import GeodamageError, LabelError, OutputExistsError
from geodamage.words import counted
from geodamage.xbd.masks import write_targets
from training.data.index import (
    IndexedPair,
    Problem,
    common_folder,
    index_pairs,
    read_index,
    tier_folders,
    write_index,
)
from training.data.sampling import inverse_frequency, sample_weights
from training.data.splits import SCHEMES, SplitOptions, count_grades, overlaps


def build_index(roots: Sequence[Path], output: Path) -> list[IndexedPair]:
    """Look at every pair; write the index and the problems."""
    entries: list[IndexedPair] = []
    problems: list[Problem] = []
    for number, found in enumerate(index_pairs(tier_folders(roots)), start=1):
        if isinstance(found, IndexedPair):
            entries.append(found)
        else:
            problems.append(found)
            print(f"{found.folder}/{found.pair}: {found.why}")
        if number % 500 == 0:
            print(f"{number} looked at", flush=True)
    write_index(output / "index.csv", entries)
    with (output / "problems.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["pair", "folder", "left_out", "why"])
        table.writerows([p.pair, p.folder, p.fatal, p.why] for p in problems)
    left_out = sum(problem.fatal for problem in problems)
    print(
        f"{counted(len(entries), 'pair')} indexed, {left_out} left out, "
        f"{counted(len(problems), 'problem')}"
    )
    return entries


def take_subset(entries: Sequence[IndexedPair], count: int, seed: int) -> list[IndexedPair]:
    """Return some pairs for a look, from all events in turn."""
    rng = np.random.default_rng(seed)
    waiting = {
        event: list(rng.permutation([i for i, e in enumerate(entries) if e.event == event]))
        for event in sorted({entry.event for entry in entries})
    }
    chosen: list[int] = []
    while len(chosen) < min(count, len(entries)):
        for places in waiting.values():
            if places and len(chosen) < count:
                chosen.append(int(places.pop()))
    return [entries[i] for i in sorted(chosen)]


def split(
    entries: Sequence[IndexedPair], scheme: str, options: SplitOptions, *, accept_overlap: bool
) -> list[str]:
    """Split pairs into parts.

    Raises
    ------
    LabelError
        If two parts show the same ground, and that is not accepted.
    """
    parts = SCHEMES[scheme](entries, options)
    found = overlaps(entries, parts)
    if found:
        worst = "; ".join(f"{a} and {b} ({share:.1%})" for a, b, share in found[:5])
        pairs = counted(len(found), "pair of tiles", "pairs of tiles")
        text = f"split {scheme}: {pairs} in different parts share ground: {worst}"
        if not accept_overlap:
            raise LabelError(
                f"{text}; scores would be too good: split by place or by event, or give "
                "--accept-overlap"
            )
        print(f"accepted: {text}")
    return parts


def write_split(path: Path, entries: Sequence[IndexedPair], parts: Sequence[str]) -> None:
    """Write a split file; pairs without a part are left out."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["pair", "event", "folder", "part"])
        table.writerows(
            [entry.pair, entry.event, entry.folder, part]
            for entry, part in zip(entries, parts, strict=True)
            if part
        )


def write_counts(
    path: Path, entries: Sequence[IndexedPair], parts: Sequence[str], base: Path
) -> dict[str, object]:
    """Write how often each class occurs, and the weights that follow for the training part."""
    learnt = [e for e, part in zip(entries, parts, strict=True) if part == "train"] or list(entries)
    pixels = np.array([entry.pixels for entry in learnt])
    names = ["background", *(grade.label for grade in GRADES)]
    weights = inverse_frequency(pixels.sum(0))
    facts: dict[str, object] = {
        "data": base.name,
        "pairs": len(entries),
        "parts": dict(Counter(part or "unused" for part in parts)),
        "buildings": dict(zip(names[1:], count_grades(entries).tolist(), strict=True)),
        "unclassified": sum(entry.unclassified for entry in entries),
        "training_pixels": dict(zip(names, pixels.sum(0).tolist(), strict=True)),
        "class_weights": dict(zip(names, weights.round(6).tolist(), strict=True)),
        "sample_weights": {
            entry.pair: round(float(weight), 4)
            for entry, weight in zip(learnt, sample_weights(pixels), strict=True)
        },
    }
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts


def draw_classes(path: Path, entries: Sequence[IndexedPair], parts: Sequence[str]) -> None:
    """Draw how many buildings of each grade each part has."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted({part for part in parts if part}, key=lambda name: (name != "train", name))
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / max(len(names), 1)
    for number, name in enumerate(names):
        mine = [entry for entry, part in zip(entries, parts, strict=True) if part == name]
        counts = count_grades(mine)
        places = np.arange(len(GRADES)) + (number - (len(names) - 1) / 2) * width
        shade = 1 - 0.6 * number / max(len(names), 1)
        bars = axes.bar(places, counts, width * 0.95, color=[COLOURS[g] for g in GRADES])
        for bar, count in zip(bars, counts, strict=True):
            bar.set_alpha(shade)
            axes.text(
                bar.get_x() + bar.get_width() / 2, max(count, 1), f"{name}\n{count:,}",
                ha="center", va="bottom", fontsize=7,
            )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.8)
    axes.margins(y=0.2)
    axes.set_xticks(range(len(GRADES)), [LABELS[g] for g in GRADES])
    axes.set_ylabel("buildings")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def write_masks(entries: Sequence[IndexedPair], base: Path, output: Path) -> int:
    """Draw the official target of every label file; return how many were written."""
    files = [
        base / entry.folder / "labels" / f"{entry.pair}_{date}_disaster.json"
        for entry in entries
        for date in ("pre", "post")
    ]
    return sum(1 for _ in write_targets([f for f in files if f.exists()], output, overwrite=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write an index and what follows from it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--split", choices=SCHEMES, default="place")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--event", default="", help="left out by leave_one_out: NAME[,NAME...]")
    parser.add_argument("--buffer", type=float, default=100.0, help="metres between two places")
    parser.add_argument("--folds", type=int, default=0, help="with --split folds")
    parser.add_argument("--subset", type=int, default=0, help="take only so many pairs, for a look")
    parser.add_argument("--masks", action="store_true", help="write the targets, too")
    parser.add_argument("--accept-overlap", action="store_true")
    parser.add_argument("--reindex", action="store_true", help="look at every pair again")
    options = parser.parse_args(arguments)
    try:
        prepare(options)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.prepare: error: {error}\n")


def prepare(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    output: Path = options.output
    if output.exists() and not output.is_dir():
        raise OutputExistsError(f"{output}: is a file; give a folder for index, split and counts")
    output.mkdir(parents=True, exist_ok=True)
    base = common_folder(tier_folders(options.folders))
    index = output / "index.csv"
    if index.exists() and not options.reindex:
        entries = read_index(index)
        print(f"{counted(len(entries), 'pair')} from {index}; --reindex looks at them again")
    else:
        entries = build_index(options.folders, output)
    if options.subset:
        entries = take_subset(entries, options.subset, options.seed)
    if not entries:
        raise LabelError(f"{output}/problems.csv: no usable pair is left")
    chosen = SplitOptions(
        seed=options.seed, event=options.event, buffer=options.buffer, folds=options.folds
    )
    parts = split(entries, options.split, chosen, accept_overlap=options.accept_overlap)
    write_split(output / "split.csv", entries, parts)
    write_counts(output / "counts.json", entries, parts, base)
    draw_classes(output / "classes.png", entries, parts)
    if options.masks:
        print(f"{write_masks(entries, base, output / 'masks')} masks written")
    for part in ("train", "validation"):
        if not options.folds and part not in parts:
            print(f"warning: no pair is in part {part!r}; training needs both: give more pairs")
    for part in sorted({part for part in parts if part}):
        mine = [entry for entry, given in zip(entries, parts, strict=True) if given == part]
        print(f"{part:10} {len(mine):5} pairs, grades 1-4: {count_grades(mine).tolist()}")
    print(f"train with --data {base}")


if __name__ == "__main__":
    main()
