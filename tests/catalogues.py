"""STAC items and catalogues, written in code."""

import json
from pathlib import Path

import shapely

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def make_item(name: str, when: str, outline: shapely.Polygon, **assets: object) -> dict:
    """Return an item; an asset is a link, or a table."""
    tables = {
        key: {"href": asset, "type": COG} if isinstance(asset, str) else asset
        for key, asset in assets.items()
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": shapely.geometry.mapping(outline),
        "bbox": list(outline.bounds),
        "properties": {"datetime": when},
        "links": [],
        "assets": tables,
    }


def make_catalogue(kind: str, name: str, *links: tuple[str, str], **more: object) -> dict:
    return {
        "type": kind,
        "stac_version": "1.0.0",
        "id": name,
        "description": name,
        "license": "CC0-1.0",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[None] * 2]},
        },
        "links": [{"rel": rel, "href": href} for rel, href in links],
    } | more


def save(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path
