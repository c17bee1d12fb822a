"""Draw the README's picture: the result of `assess` over the sample pair.

python docs/pictures.py
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import geopandas as gpd
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from geodamage.damage import COLOURS, DamageGrade
from geodamage.model.loading import load_model
from geodamage.scene.scene import Scene

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_data"


def main() -> None:
    """Run `assess` on the sample and draw what it says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pre", default=str(SAMPLE / "pre.tif"))
    parser.add_argument("--post", default=str(SAMPLE / "post.tif"))
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "sample.png")
    options = parser.parse_args()
    mpl.use("Agg")
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "buildings.gpkg"
        command = [sys.executable, "-m", "geodamage", "assess", options.pre, options.post]
        subprocess.run([*command, "-o", str(result), "-q"], check=True)
        buildings = gpd.read_file(result, layer="buildings")
    with Scene.open(options.pre, options.post, gsd=load_model().card.gsd) as scene:
        pixels = scene.read(scene.extent)
        left, bottom, right, top = scene.grid.window_bounds(scene.extent)
    # Letters are large, so that a phone of 390 pixels still shows them.
    plt.rcParams["font.size"] = 20
    figure, axes = plt.subplots(1, 2, figsize=(9, 6.0), layout="constrained")
    for axis, image, title in zip(
        axes, (pixels.pre, pixels.post), ("before", "after, graded"), strict=True
    ):
        axis.imshow(np.moveaxis(image, 0, 2), extent=(left, right, bottom, top))
        axis.set_title(title, y=1.0)
        axis.set_axis_off()
    draw_buildings(axes[1], buildings)
    for axis in axes:  # outlines at the rim would move one of them
        axis.set(xlim=(left, right), ylim=(bottom, top))
    handles = [Patch(facecolor=COLOURS[g], edgecolor="black", label=g.label) for g in DamageGrade]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        handlelength=1,
        columnspacing=1,
        handletextpad=0.4,
    )
    figure.savefig(options.output, dpi=110, pil_kwargs={"optimize": True})


def draw_buildings(axis: Axes, buildings: gpd.GeoDataFrame) -> None:
    """Draw polygons in the colour of their grade."""
    for grade in DamageGrade:
        chosen = buildings[buildings["damage_class"] == int(grade)]
        if len(chosen):
            chosen.plot(
                ax=axis, facecolor=COLOURS[grade], edgecolor="black", linewidth=0.5, alpha=0.55
            )


if __name__ == "__main__":
    main()
