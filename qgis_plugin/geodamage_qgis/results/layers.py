# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as layers: loaded in a group with their imagery, styled, described, corrected.

`load_result` is what the dialog and the menu call; `dress` is for a layer that Processing has
loaded by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsLayerMetadata,
    QgsLayerTreeGroup,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtXml import QDomDocument

from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.facts import Facts, fact_rows, read_facts, sidecar_path
from geodamage_qgis.program.facts import summary_html as page_html
from geodamage_qgis.results.results import check_result, is_result, output_path
from geodamage_qgis.results.reviews import restore
from geodamage_qgis.translation import tr, translated_file

__all__ = ["dress", "is_result", "load_result", "output_path", "summary_html"]

STYLES = Path(__file__).parents[1] / "styles"

#: Name of each style in the layer's style menu, and its file; the first is the one that is shown.
STYLE_FILES = {"damage": "damage.qml", "colour-blind safe": "damage_colour_blind.qml"}

#: Images of one date that are loaded beside a result. A mosaic of hundreds would fill the tree and
#: open as many files; its folder is better loaded by hand, as a virtual raster.
MOST_IMAGES = 24

DATES = {"post": "after", "pre": "before"}


def load_result(
    path: str | os.PathLike[str], *, name: str | None = None, group: bool = True
) -> QgsVectorLayer:
    """Load a result into the project: styled, described, with its images and corrections.

    A result that the project holds already, of an earlier run, is read again in its place and
    keeps what the user made of its style.

    Parameters
    ----------
    path
        The vector file that `geodamage assess` or `geodamage event` wrote.
    name
        Name of the layer and its group; the name of the file unless given.
    group
        Put the layer into a group, with the images of its sidecar that the project lacks.

    Raises
    ------
    PluginError
        If there is no finished result, or QGIS cannot open it.
    """
    path = Path(path)
    facts = read_facts(path)
    layer = find_layer(path)
    if layer is not None:
        refresh(layer)
        describe(layer, facts)
        restore(layer)
        return layer
    layer = open_result(path, name=name or path.stem)
    _place(layer, facts, group=group)
    dress(layer)
    return layer


def open_result(path: str | os.PathLike[str], *, name: str) -> QgsVectorLayer:
    """Open a result as a layer outside the project.

    Raises
    ------
    PluginError
        If QGIS cannot open the file, or it lacks the fields of a result.
    """
    # Without the option a moment that ends in Z becomes one without a time zone in QGIS 3.22.
    option = "|option:DATE_AS_STRING=YES" if Path(path).suffix.lower() == ".geojson" else ""
    layer = QgsVectorLayer(f"{os.fspath(path)}{option}", name, "ogr")
    if not layer.isValid():
        raise PluginError(
            tr("QGIS cannot open {path}; write .gpkg or .geojson instead", path=path)
            if Path(path).suffix == ".parquet"
            else tr("QGIS cannot open {path} as a vector layer", path=path)
        )
    check_result(layer)
    return layer


def dress(layer: QgsVectorLayer) -> None:
    """Give a layer of a result its styles, its metadata and the corrections of its journal.

    Raises
    ------
    PluginError
        If the layer is not a result, or its journal cannot be read.
    """
    check_result(layer)
    apply_styles(layer)
    path = output_path(layer)
    # A copy without its sidecar is still a layer that can be shown.
    if path is not None and sidecar_path(path).is_file():
        describe(layer, read_facts(path))
    restore(layer)


def find_layer(path: str | os.PathLike[str]) -> QgsVectorLayer | None:
    """Return the layer of the project that shows a result."""
    for layer in QgsProject.instance().mapLayers().values():
        if isinstance(layer, QgsVectorLayer):
            shown = output_path(layer)
            if shown is not None and _same(shown, Path(path)):
                return layer
    return None


def refresh(layer: QgsVectorLayer) -> None:
    """Read the file of a layer again, after a run has replaced it.

    Raises
    ------
    PluginError
        If the layer is being edited: its unsaved changes are of the old file.
    """
    if layer.isEditable():
        raise PluginError(
            tr(
                "layer {layer} is being edited; save or cancel the edits, then load it again",
                layer=layer.name(),
            )
        )
    options = layer.dataProvider().ProviderOptions()
    layer.setDataSource(layer.source(), layer.name(), layer.providerType(), options)
    if not layer.isValid():
        raise PluginError(
            tr("QGIS cannot open {source} again; load it anew", source=layer.source())
        )
    layer.triggerRepaint()


def apply_styles(layer: QgsVectorLayer) -> None:
    """Give a layer its two styles; `damage` is shown, the other waits in the style menu.

    Raises
    ------
    PluginError
        If a style cannot be read.
    """
    manager = layer.styleManager()
    titles = {tr(name): name for name in STYLE_FILES}
    first = next(iter(titles))
    for title, name in titles.items():
        if title not in manager.styles():
            manager.addStyleFromLayer(title)
        manager.setCurrentStyle(title)
        _read_style(layer, translated_file(STYLES, STYLE_FILES[name]))
    manager.setCurrentStyle(first)
    for name in set(manager.styles()) - set(titles):
        # Later versions bring every style of the file along, by its English name.
        if name in ("default", "", *STYLE_FILES):
            manager.removeStyle(name)
    layer.triggerRepaint()


def _read_style(layer: QgsVectorLayer, path: Path) -> None:
    """Give a layer the style of a file; `loadNamedStyle` would take the one of its GeoPackage."""
    document = QDomDocument()
    try:
        found = document.setContent(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PluginError(
            tr("{path} cannot be read: {why}; install the plugin again", path=path, why=error)
        ) from error
    # Qt says what it found in one way up to 6.4, and in another after it.
    if not (found[0] if isinstance(found, tuple) else found):
        raise PluginError(tr("{path} is no style; install the plugin again", path=path))
    loaded, message = layer.importNamedStyle(document)
    if not loaded:
        raise PluginError(
            tr(
                "{path} is no style: {message}; install the plugin again",
                path=path,
                message=message,
            )
        )


def describe(layer: QgsVectorLayer, facts: Facts) -> None:
    """Write the sidecar's facts into the metadata of a layer."""
    metadata = QgsLayerMetadata(layer.metadata())
    metadata.setIdentifier(str(facts.output))
    metadata.setTitle(tr("Building damage: {layer}", layer=layer.name()))
    metadata.setType("dataset")
    metadata.setLanguage("en")
    metadata.setAbstract(page_html(facts))
    metadata.setCrs(layer.crs())
    metadata.setKeywords({"gmd:topicCategory": ["Structure"], "geodamage": ["building damage"]})
    metadata.setHistory([f"{title}: {text}" for title, text in fact_rows(facts)])
    rows = dict(fact_rows(facts))
    if "Model licence" in rows:
        metadata.setLicenses([tr("of the model: {licence}", licence=rows["Model licence"])])
    if facts.statement:
        constraint = QgsLayerMetadata.Constraint(facts.statement, tr("Limitations of use"))
        metadata.setConstraints([constraint])
    layer.setMetadata(metadata)


def summary_html(path: str | os.PathLike[str], files: Mapping[str, str] | None = None) -> str:
    """Return the page about a result for the results viewer, with links to files beside it.

    Raises
    ------
    PluginError
        If the result has no sidecar.
    """
    return page_html(read_facts(path), files)


def open_images(facts: Facts, date: str) -> list[QgsRasterLayer]:
    """Return layers of the images of a date, `pre` or `post`: those of the project, else new ones.

    Files that are not there any more, or that are not files here, are left out; at most
    `MOST_IMAGES` are opened.
    """
    found = []
    for file in facts.images(date)[:MOST_IMAGES]:
        layer = find_image(file)
        if layer is None and Path(file).is_file():
            layer = QgsRasterLayer(file, Path(file).stem)
        if layer is not None and layer.isValid():
            found.append(layer)
    return found


def find_image(file: str) -> QgsRasterLayer | None:
    """Return the layer of the project that shows an image file."""
    for layer in QgsProject.instance().mapLayers().values():
        if isinstance(layer, QgsRasterLayer) and layer.isValid():
            parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
            if parts.get("path") and _same(Path(parts["path"]), Path(file)):
                return layer
    return None


def working_crs(facts: Facts | None, layer: QgsVectorLayer) -> QgsCoordinateReferenceSystem:
    """Return a CRS in metres to look at a result in: that of its scene, where the sidecar says it.

    Else it is the layer's own, or Web Mercator for a layer in degrees: shapes stay right, and only
    distances grow towards the poles.
    """
    if facts is not None and facts.crs:
        crs = QgsCoordinateReferenceSystem(facts.crs)
        if crs.isValid():
            return crs
    if layer.crs().isValid() and not layer.crs().isGeographic():
        return layer.crs()
    return QgsCoordinateReferenceSystem("EPSG:3857")


def _place(layer: QgsVectorLayer, facts: Facts, *, group: bool) -> None:
    """Put a layer on top of the tree: in a group over its images, or by itself."""
    project = QgsProject.instance()
    root = project.layerTreeRoot()
    if not group:
        project.addMapLayer(layer, False)
        root.insertLayer(0, layer)
        return
    folder = root.insertGroup(0, layer.name())
    project.addMapLayer(layer, False)
    folder.addLayer(layer)
    for date, title in DATES.items():
        images = [image for image in open_images(facts, date) if not project.mapLayer(image.id())]
        _place_images(folder, images, title)


def _place_images(folder: QgsLayerTreeGroup, images: Iterable[QgsRasterLayer], title: str) -> None:
    """Add the images of a date to a group; several go into a group of their own."""
    images = list(images)
    if len(images) > 1:
        folder = folder.addGroup(title)
        folder.setExpanded(False)
    for image in images:
        image.setName(f"{title}: {image.name()}")
        QgsProject.instance().addMapLayer(image, False)
        node = folder.addLayer(image)
        node.setExpanded(False)


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is gone
        return path.absolute() == other.absolute()
