r"""Measure what the product says of pairs that it cannot, or can hardly, grade.

    python -m benchmarks.trust GEOTIFFS XBD/labels training/recipes/compact.csv --model fast

GEOTIFFS holds the pairs as `geodamage georeference` writes them. Each condition changes the pairs
of one part of the split, assesses them with the label polygons as footprints, and prints a row. The
row has the kappa of the graded buildings, and that of the same buildings in the unchanged pairs. It
counts the buildings that keep their grade. It counts those that were not assessed, among footprints
at least 80 % under a synthetic cloud or stripe, and among those in clear ground. It also has
refusals, warnings and measured shifts. Clouds come from `benchmarks.clouds`, which the detector has
not learnt from. Nothing is chosen here. `--only` takes some conditions. `--ungraded` looks at the
pairs alone, for warnings and shifts, in a tenth of the time. With `--draws N` each condition is
drawn N times, so that clouds lie over other buildings. With `--kept FILE` the outcome of each pair
is kept there, and a rerun continues where the last one ended. Pairs are spread over events.
"""

import argparse
import csv
import itertools
import json
import sys
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import shapely

from benchmarks.conditions import AS_IT_IS, CONDITIONS, Case, Shot, on_grid
from geodamage.assessment import Job, assess
from geodamage.damage import LABELS
from geodamage.errors import GeodamageError, GeodamageWarning
from geodamage.model.loading import load_model
from geodamage.scene.scene import Scene
from geodamage.scores.buildings import quadratic_kappa

COLUMNS = (
    "", "pairs", "kappa", "as it is", "graded", "same grade", "covered", "not assessed", "clear",
    "not assessed", "refused", "warned", "shift known", "within 1 m",
)  # fmt: skip

GRADES = {label: int(grade) for grade, label in LABELS.items() if int(grade) > 0}

#: Opacity from which what was drawn is opaque, and up to which ground under it is clear.
OPAQUE, THIN = 0.9, 0.05

#: A building: its grade by the label, the grade it got (0 for none), the share of it under what was
#: drawn, and whether the images show it at all.
Building = tuple[int, int, float, bool]
#: What came of a pair under a condition: refused, warnings, registrations, buildings by identity.
Record = dict[str, Any]


def row_text(name: str, records: Mapping[str, Record], base: Mapping[str, Record]) -> str:
    """Return the row of a condition in Markdown.

    Parameters
    ----------
    records, base
        The outcome of each pair under it, by `key_of`, and of the pairs as they are.
    """
    graded, twice, covered, clear = [], [], [], []
    plains = {key: base[name_of(key)] for key in records if name_of(key) in base}
    for pair, record in records.items():
        plain = plains.get(pair, {}).get("buildings", {})
        for uid, (truth, grade, hidden, shown) in record["buildings"].items():
            if grade:
                graded.append((truth, grade))
            if grade and uid in plain and plain[uid][1]:
                twice.append((truth, grade, plain[uid][1]))
            if hidden >= 0.8:
                covered.append(grade == 0)
            elif hidden == 0 and shown:
                clear.append(grade == 0)
    shifts = [shift for pair, plain in plains.items() if name != AS_IT_IS
              for shift in shifts_of(records[pair], plain)]  # fmt: skip
    known = [shift for shift in shifts if shift is not None]
    cells = [
        name, len(records), _kappa([(truth, grade) for truth, grade in graded]),
        _kappa([(truth, plain) for truth, _, plain in twice]), len(graded),
        _figure(_mean([grade == plain for _, grade, plain in twice])),
        len(covered), _figure(_mean(covered)), len(clear), _figure(_mean(clear)),
        sum(record["refused"] is not None for record in records.values()),
        sum(bool(record["warnings"]) for record in records.values()),
        f"{len(known)} of {len(shifts)}", f"{sum(off <= 1 for off in known)} of {len(known)}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def shifts_of(record: Record, base: Record) -> list[float | None]:
    """Return by how many metres each shift of a case is measured wrongly; None where unknown.

    A pair whose shift is not known as it is says nothing.
    """
    found: list[float | None] = []
    for name in ("moved", "laid"):
        by, plain = record[name], base["said"].get(name, {})
        if by is None or "east_m" not in plain or record["refused"] is not None:
            continue
        said = record["said"].get(name, {})
        if "east_m" not in said:
            found.append(None)
            continue
        off = [said[key] - plain[key] - part
               for key, part in zip(("east_m", "north_m"), by, strict=True)]  # fmt: skip
        found.append(float(np.hypot(*off)))
    return found


def _kappa(pairs: Sequence[tuple[int, int]]) -> str:
    truth, grades = ([pair[side] for pair in pairs] for side in (0, 1))
    return _figure(quadratic_kappa(truth, grades) if pairs else None)


def _mean(values: Sequence[bool]) -> float | None:
    return float(np.mean(values)) if values else None


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def truth_of(labels: Path, name: str) -> gpd.GeoDataFrame:
    """Return the labelled buildings of a pair that have a grade."""
    stated = json.loads((labels / f"{name}_post_disaster.json").read_text())["features"]["lng_lat"]
    rows = [(feature["properties"], shapely.from_wkt(feature["wkt"])) for feature in stated]
    kept = [(facts["uid"], GRADES[facts["subtype"]], shape)
            for facts, shape in rows if facts.get("subtype") in GRADES]  # fmt: skip
    ids, grades, shapes = zip(*kept, strict=True) if kept else ((), (), ())
    return gpd.GeoDataFrame({"uid": ids, "grade": grades}, geometry=list(shapes), crs=4326)


def read_shot(path: Path) -> Shot:
    """Read an image of a pair."""
    with rasterio.open(path) as dataset:
        kept = ("crs", "transform", "width", "height", "count", "dtype")
        return Shot(dataset.read(), {key: dataset.profile[key] for key in kept})


def run_case(case: Case, truth: gpd.GeoDataFrame, model: Any) -> Record:
    """Assess a case and return what came of it."""
    record: Record = {"refused": None, "warnings": [], "said": {}, "buildings": {},
                      "moved": None, "laid": None}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        paths = write_case(case, truth, Path(folder))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", GeodamageWarning)
                facts, found = (graded if isinstance(model, str) else looked_at)(case, paths, model)
        except GeodamageError as error:
            return record | {"refused": str(error)}
    record["warnings"] = list(facts["warnings"])
    crs = facts["scene"]["crs"]
    for name, by in (("moved", case.moved), ("laid", case.laid)):
        record[name] = by and on_grid(case.pre, by, crs)
    record["said"] = {
        "moved": facts["scene"]["registration"],
        "laid": (facts.get("footprints") or {}).get("registration", {}),
        "familiarity": facts.get("familiarity", {}),
    }
    return record if found is None else record | {"buildings": buildings_of(case, truth, found)}


def write_pair(pair: Sequence[Shot], folder: Path) -> list[Path]:
    """Write both images of a pair; return their paths."""
    paths = [folder / f"{name}.tif" for name in ("one", "two")]
    for path, shot in zip(paths, pair, strict=True):
        with rasterio.open(path, "w", driver="GTiff", **shot.profile) as dataset:
            dataset.write(shot.pixels)
    return paths


def write_case(case: Case, truth: gpd.GeoDataFrame, folder: Path) -> list[Path]:
    """Write both images and the footprints of a case; return their paths."""
    paths = write_pair((case.pre, case.post), folder)
    footprints = folder / "truth.geojson"
    truth.set_geometry(truth.translate(*(case.laid or (0.0, 0.0)))).to_file(footprints)
    return [*paths, footprints]


def graded(case: Case, paths: Sequence[Path], model: str) -> tuple[dict[str, Any], Any]:
    """Assess a case; return the sidecar, and the buildings by their identity."""
    output = paths[0].with_name("found.geojson")
    job = Job(pre=paths[0], post=paths[1], output=output, model=model, scene=case.options,
              footprints=paths[2], id_field="uid")  # fmt: skip
    assess(job).result()
    facts = json.loads(Path(f"{output}.json").read_text())
    return facts, gpd.read_file(output, ignore_geometry=True).set_index("building_id")


def looked_at(case: Case, paths: Sequence[Path], model: Any) -> tuple[dict[str, Any], None]:
    """Open a case alone; return what a sidecar would say of the scene."""
    with Scene.open(paths[0], paths[1], model=model, options=case.options) as scene:
        return {"scene": scene.facts(), "warnings": scene.warnings}, None


def buildings_of(case: Case, truth: gpd.GeoDataFrame, found: Any) -> dict[str, Building]:
    """Return what became of each building of a case."""
    transform, size = case.post.profile["transform"], case.post.pixels.shape[1:]
    result: dict[str, Building] = {}
    for uid, grade, shape in zip(truth["uid"], truth["grade"], truth.geometry, strict=True):
        said, hidden = found.loc[uid], 0.0
        if case.covered is not None:
            drawn = rasterio.features.rasterize([shape], out_shape=size, transform=transform)
            hidden = hidden_share(drawn, case.covered)
        shown = not str(said["status_reason"]).startswith(("nodata", "outside"))
        graded_as = 0 if said["status"] == "not_assessed" else int(said["damage_class"])
        result[uid] = int(grade), graded_as, round(hidden, 4), shown
    return result


def hidden_share(cover: np.ndarray, covered: np.ndarray) -> float:
    """Return the share of a building under opaque cover; of one under thin cover, nearly nothing.

    Parameters
    ----------
    cover
        1 where the building covers the centre of a pixel, (rows, columns).
    covered
        Opacity of what was drawn over each pixel, 0-1.
    """
    opaque = float((cover * (covered >= OPAQUE)).sum() / max(cover.sum(), 1))
    return opaque if opaque or not (covered[cover > 0] > THIN).any() else 1e-4


def key_of(name: str, draw: int) -> str:
    """Return the key of a pair's record, for what was drawn the nth time from 0."""
    return f"{name}~{draw}" if draw else name


def name_of(key: str) -> str:
    """Return the pair of a record's key."""
    return key.partition("~")[0]


def names_of(split: Path, part: str) -> Iterator[str]:
    """Yield the pairs of a part of a split."""
    with split.open(encoding="utf-8", newline="") as file:
        yield from (row["pair"] for row in csv.DictReader(file) if row["part"] == part)


def condition_parser(description: str | None, conditions: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser for a benchmark of conditions over the pairs of a split."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("geotiffs", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("--part", default="test")
    parser.add_argument("--model", default="fast")
    parser.add_argument("--only", nargs="*", default=conditions, choices=conditions)
    return parser


def in_spread_order(names: Sequence[str]) -> list[int]:
    """Return the numbers of names, so that however few are done, they are spread over all."""
    golden = (5**0.5 - 1) / 2
    return sorted(range(len(names)), key=lambda number: (number * golden) % 1)


def read_kept(path: Path | None) -> dict[str, dict[str, Record]]:
    """Return what is kept of an earlier run: records by condition and pair."""
    kept: dict[str, dict[str, Record]] = defaultdict(dict)
    if path is not None and path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            kept[record["condition"]][record["pair"]] = record
    return kept


def run_all(options: argparse.Namespace) -> dict[str, dict[str, Record]]:
    """Assess every pair under every condition that is not kept; return all records."""
    kept = read_kept(options.kept)
    model = load_model(options.model) if options.ungraded else options.model
    names = list(names_of(options.split, options.part))
    for number in in_spread_order(names)[: options.pairs]:
        name = names[number]
        paths = [options.geotiffs / f"{name}_{date}_disaster.tif" for date in ("pre", "post")]
        truth = truth_of(options.labels, name)
        if not all(path.is_file() for path in paths) or truth.empty:
            print(f"{name}: no GeoTIFF, or no building with a grade", file=sys.stderr)
            continue
        shots = [read_shot(path) for path in paths]
        for condition, draw in itertools.product(options.only, range(options.draws)):
            key = key_of(name, draw)
            if key in kept[condition] or (draw and condition == AS_IT_IS):
                continue
            rng = np.random.default_rng([number, draw] if draw else number)
            case = CONDITIONS[condition](shots[0], shots[1], rng)
            record = {"condition": condition, "pair": key} | run_case(case, truth, model)
            kept[condition][key] = record
            if options.kept is not None:
                with options.kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
        print(name, file=sys.stderr, flush=True)
    return kept


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = condition_parser(__doc__, list(CONDITIONS))
    parser.add_argument("--pairs", type=int, help="so many alone, evenly spread")
    parser.add_argument("--draws", type=int, default=1, help="of each condition: more clouds")
    parser.add_argument("--ungraded", action="store_true", help="look at the pairs alone")
    parser.add_argument("--kept", type=Path, help="file of what came of each pair, to go on with")
    options = parser.parse_args(arguments)
    kept = run_all(options)
    print(f"| {' | '.join(COLUMNS)} |\n|---{'|--:' * (len(COLUMNS) - 1)}|")
    for name in options.only:
        print(row_text(name, kept[name], kept[AS_IT_IS]))


if __name__ == "__main__":
    main()
