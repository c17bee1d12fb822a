r"""Measure how often the intervals of `geodamage estimate` hold the truth, and how wide they are.

    python -m benchmarks.estimates
    python -m benchmarks.estimates fast training/recipes/compact.csv --data ../shared/data/xbd

Reviews are simulated: a sample is drawn as `geodamage sample` draws it, its true grades are the
answers, and an estimate is made of them. Without a model the populations are drawn, from models of
much, some and no skill, on disasters with few and many damaged buildings. With a model they are the
labelled buildings that it finds on the pairs of each event. The width is held against that of a
simple random sample of equal size with Wald's interval. Beside it stands the width that the same
sample would have if the variances of its strata were known, so that nothing were paid for honesty.
Then comes the least width that any
sample could reach with the probabilities of the model. It has strata as fine as twenty parts of the
estimated quantity's probability, and their true shares are known beforehand. Its interval is 1.96
standard errors.

    python -m benchmarks.estimates fast training/recipes/release.csv --part validation --data XBD

names the pairs that the bundled models have not learnt from.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import geopandas as gpd
import numpy as np

from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import GeodamageError
from geodamage.model.loading import load_model
from geodamage.reviews.design import (
    Strata,
    allocate,
    expected_spread,
    make_strata,
)
from geodamage.reviews.estimation import totals
from geodamage.reviews.evidence import Evidence
from geodamage.reviews.population import PROBABILITIES, Population
from geodamage.scores.evaluation import EvaluationJob, choose_pairs
from training.calibrate import found_votes

SIZES = (50, 100, 200)
#: Parts of a population, by probability, in the least width that could be.
PARTS = 20
#: Share below which a grade is rare.
RARE = 0.02
#: Shares of the grades of synthetic populations.
SHARES = {
    "few damaged": (0.95, 0.012, 0.02, 0.018),
    "some damaged": (0.80, 0.08, 0.07, 0.05),
    "many damaged": (0.45, 0.15, 0.20, 0.20),
}
#: How far the true grade shows in the probabilities, and how much too sure they are.
SKILLS = {"good": (2.0, 1.0), "good, too sure": (2.0, 0.5), "fair": (0.7, 1.0), "none": (0.0, 0.5)}


class Case(NamedTuple):
    """A population whose truth is known."""

    name: str
    population: Population
    truth: np.ndarray


class Row(NamedTuple):
    """What the reviews of one case, size and thing to estimate came to."""

    case: str
    size: int
    target: str
    share: float
    held: float
    width: float
    wald_held: float
    wald_width: float
    known_width: float
    least_width: float


def make_case(name: str, truth: np.ndarray, probabilities: np.ndarray) -> Case:
    """Return a population of buildings: what is true of them (1-4), and what a model says."""
    grade = probabilities.argmax(1) + 1
    columns = dict(zip(PROBABILITIES, probabilities.T, strict=True))
    frame = gpd.GeoDataFrame({"damage_class": grade, "damaged": grade > 1, **columns})
    return Case(name, Population(frame, {}, 0, (), (), None), truth)


def drawn_cases(buildings: int, generator: np.random.Generator) -> Iterator[Case]:
    """Yield synthetic populations."""
    for damage, shares in SHARES.items():
        for skill, (kernel, temperature) in SKILLS.items():
            truth = generator.choice(len(GRADES), size=buildings, p=shares)
            off = np.abs(np.arange(len(GRADES)) - truth[:, None])
            logits = generator.normal(0, 1.5, off.shape) - kernel * off + 0.7 * np.log(shares)
            parts = np.exp(logits / temperature)
            yield make_case(f"{damage}, {skill}", truth + 1, parts / parts.sum(1, keepdims=True))


def real_cases(options: argparse.Namespace) -> Iterator[Case]:
    """Yield the labelled buildings that a model finds on the pairs of each event."""
    job = EvaluationJob(folder=options.data, split=options.split, part=options.part)
    pairs, model = choose_pairs(job), load_model(options.model)
    for event in sorted({pair.event for pair in pairs}):
        found = found_votes(model, [p for p in pairs if p.event == event], job.min_area)
        if len(found.grades) < 2 * min(SIZES):
            continue
        columns = Grading.of(model.card).columns(found.votes)
        yield make_case(event, found.grades, np.column_stack([columns[p] for p in PROBABILITIES]))


def design(case: Case, size: int) -> tuple[Strata, np.ndarray]:
    """Return the strata of a sample, and how many buildings of each are drawn."""
    population = case.population
    strata = make_strata(population.grade, population.probabilities, most=size // 3)
    spreads = [
        expected_spread(population.probabilities[strata.of == h]) for h in range(len(strata.names))
    ]
    return strata, allocate(strata.sizes, np.array(spreads), size)


def review(
    case: Case, strata: Strata, drawn: np.ndarray, generator: np.random.Generator
) -> Evidence:
    """Return the evidence of one review.

    Places are not known here, so buildings of a stratum stand in random order.
    """
    rows = np.concatenate(
        [
            generator.choice(np.flatnonzero(strata.of == h), count, replace=False)
            for h, count in enumerate(drawn)
        ]
    )
    return Evidence(
        rows,
        case.truth[rows],
        strata.of[rows],
        strata.names,
        strata.sizes,
        len(rows),
        0,
        [],
        (),
        (),
    )


def measure(case: Case, size: int, reviews: int, generator: np.random.Generator) -> Iterator[Row]:
    """Yield what the reviews of a population came to, a row for each thing to estimate."""
    share = {
        "damaged": np.mean(case.truth > 1),
        **{grade.label: np.mean(case.truth == grade) for grade in GRADES},
    }
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in share}
    walds: dict[str, list[tuple[float, float]]] = {name: [] for name in share}
    strata, drawn = design(case, size)
    for _ in range(reviews):
        found = totals(case.population, review(case, strata, drawn, generator))
        simple = generator.choice(case.truth, size, replace=False)
        for name in share:
            ends[name].append((found[name]["share_low"], found[name]["share_high"]))
            wanted = simple > 1 if name == "damaged" else simple == _grade(name)
            walds[name].append(wald(float(wanted.mean()), size, len(case.truth)))
    for name, true in share.items():
        own, other = np.array(ends[name]), np.array(walds[name])
        yield Row(
            case.name, size, name, float(true),
            _held(own, true), _width(own), _held(other, true), _width(other),
            known_width(case, name, strata, drawn), least_width(case, name, size),
        )  # fmt: skip


def _grade(label: str) -> int:
    return next(int(grade) for grade in GRADES if grade.label == label)


def wald(share: float, size: int, buildings: int) -> tuple[float, float]:
    """Return Wald's interval of a simple random sample, with the finite population counted."""
    half = 1.96 * np.sqrt(share * (1 - share) / size * (1 - size / buildings))
    return share - half, share + half


def known_width(case: Case, name: str, strata: Strata, drawn: np.ndarray) -> float:
    """Return the width that the interval of a sample would have, were its variances known."""
    has, sizes = _has(case, name), strata.sizes
    spreads = np.array([has[strata.of == h].std() for h in range(len(sizes))])
    parts = (sizes * spreads) ** 2 / drawn * (1 - drawn / sizes) * sizes / np.maximum(sizes - 1, 1)
    return float(2 * 1.96 * np.sqrt(parts.sum()) / sizes.sum())


def _has(case: Case, name: str) -> np.ndarray:
    """Return which buildings have what is estimated, bool (n,)."""
    return case.truth > 1 if name == "damaged" else case.truth == _grade(name)


def least_width(case: Case, name: str, size: int) -> float:
    """Return the least width of an interval that the model's probabilities allow.

    Neyman's allocation for this one thing, over strata of which the truth is known.
    """
    probabilities = case.population.probabilities
    has = _has(case, name)
    wanted = (
        probabilities[:, 1:].sum(1) if name == "damaged" else probabilities[:, _grade(name) - 1]
    )
    parts = np.array_split(has[np.argsort(wanted, kind="stable")], PARTS)
    deviation = sum(len(part) * float(part.std()) for part in parts) / len(has)
    unseen = np.sqrt(1 - size / len(has))
    return float(2 * 1.96 * deviation / np.sqrt(size) * unseen)


def _held(ends: np.ndarray, true: float) -> float:
    # Shares are rounded to six decimals.
    return float(np.mean((ends[:, 0] <= true + 1e-6) & (ends[:, 1] >= true - 1e-6)))


def _width(ends: np.ndarray) -> float:
    return float((ends[:, 1] - ends[:, 0]).mean())


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of the report: means over the cases."""
    yield (
        "| n | of | cases | held | least held | width to Wald's | variances known | least possible"
        " | Wald held |"
    )
    yield "|--:|---|--:|--:|--:|--:|--:|--:|--:|"
    targets = ["damaged", *(grade.label for grade in GRADES)]
    for size in SIZES:
        for name in targets:
            yield _line(size, name, [r for r in rows if r.size == size and r.target == name])
        rare = [r for r in rows if r.size == size and 0 < r.share < RARE]
        yield _line(size, f"grades under {100 * RARE:g} %", rare)
        yield _line(size, "all", [r for r in rows if r.size == size])
    yield ""
    yield "| case | damaged | held | width to Wald's | variances known | least possible |"
    yield "|---|--:|--:|--:|--:|--:|"
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        damaged = next(row.share for row in own if row.target == "damaged")
        yield (
            f"| {case} | {damaged:.1%} | {_mean_held(own):.1%} | {_ratio(own):.2f} |"
            f" {_ratio(own, 'known_width'):.2f} | {_ratio(own, 'least_width'):.2f} |"
        )


def _line(size: int, name: str, rows: Sequence[Row]) -> str:
    if not rows:
        return f"| {size} | {name} | 0 | | | | | | |"
    least, walds = min(row.held for row in rows), np.mean([row.wald_held for row in rows])
    return (
        f"| {size} | {name} | {len(rows)} | {_mean_held(rows):.1%} | {least:.1%} |"
        f" {_ratio(rows):.2f} | {_ratio(rows, 'known_width'):.2f} |"
        f" {_ratio(rows, 'least_width'):.2f} | {walds:.1%} |"
    )


def _mean_held(rows: Sequence[Row]) -> float:
    return float(np.mean([row.held for row in rows]))


def _ratio(rows: Sequence[Row], of: str = "width") -> float:
    """Return the mean width as a share of the mean width of Wald's intervals."""
    walds = sum(row.wald_width for row in rows)
    return sum(getattr(row, of) for row in rows) / walds if walds else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?")
    parser.add_argument("split", nargs="?", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--part", default="test")
    parser.add_argument("--reviews", type=int, default=500)
    parser.add_argument("--buildings", type=int, default=3000, help="of each synthetic population")
    options = parser.parse_args(arguments)
    generator = np.random.default_rng(0)
    try:
        cases = (
            list(drawn_cases(options.buildings, generator))
            if options.model is None
            else list(real_cases(options))
        )
        rows = [
            row
            for case in cases
            for size in SIZES
            if size <= len(case.truth) // 2
            for row in measure(case, size, options.reviews, generator)
        ]
    except GeodamageError as error:
        parser.exit(error.exit_code, f"benchmarks.estimates: error: {error}\n")
    for line in table(rows):
        print(line)


if __name__ == "__main__":
    main()
