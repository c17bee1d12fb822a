"""A card as a STAC item of the Machine Learning Model extension: what catalogues of models read.

Source: STAC 1.1.0, the MLM extension 1.5.1 and the file extension 2.1.0. Nothing is fetched.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from geodamage.damage import GRADES
from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.model.catalogue import ModelFile

_EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.5.1/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
#: Licences by their SPDX names. STAC has "other" for what has none, or joins several.
_SPDX = {
    "Apache-2.0": "Apache-2.0",
    "CC BY 4.0": "CC-BY-4.0",
    "CC BY-NC-SA 4.0": "CC-BY-NC-SA-4.0",
    "CC BY-SA 4.0": "CC-BY-SA-4.0",
    "CC0-1.0": "CC0-1.0",
    "MIT": "MIT",
}
#: A model is bound to no place and no time. Source: best practices of the extension.
_WORLD = [-180.0, -90.0, 180.0, 90.0]
_TIME = {
    "datetime": None,
    "start_datetime": "1900-01-01T00:00:00Z",
    "end_datetime": "9999-12-31T23:59:59Z",
}
_DIMENSIONS = ["batch", "channel", "height", "width"]
#: Facts of a card that have no field of their own in the extension.
_HYPERPARAMETERS = (
    "gsd_native", "gsd_min", "gsd_max", "stride", "context", "halo", "tile", "threshold",
    "seed_threshold", "seed_depth", "damaged_threshold", "temperature", "precision",
    "scene_statistics", "background_competes",
)  # fmt: skip
#: First bytes of a multihash: SHA-256, of 32 bytes.
_MULTIHASH = "1220"


def stac_item(model: ModelFile, file_hash: str) -> dict[str, Any]:
    """Return a model as a STAC item.

    Parameters
    ----------
    model
        A model file, or an ensemble: its members are assets, too.
    file_hash
        SHA-256 of the file, as hexadecimal digits.

    Returns
    -------
    A JSON object. Addresses of assets are the names of the files: the item belongs beside them.

    Raises
    ------
    ModelError
        If it is an ensemble of saved maps alone, which holds no graph.
    """
    if not model.cards:
        raise ModelError(f"{model.path}: holds saved maps and no graph, so it is no model for STAC")
    first = model.cards[0]
    bands = _bands(first)
    west, south, east, north = _WORLD
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [*_EXTENSIONS],
        "id": _identifier(model.name),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": _WORLD,
        "properties": {**_TIME, **_properties(model), "bands": bands},
        "links": [],
        "assets": _assets(model, file_hash, bands),
    }


def _properties(model: ModelFile) -> dict[str, Any]:
    cards = model.cards
    card = cards[0]
    licences = sorted({card.licence for card in cards})
    data = "; ".join(dict.fromkeys(card.training_data for card in cards))
    cautions = "; ".join(dict.fromkeys(card.caution for card in cards if card.caution))
    said = [f"Licence: {' AND '.join(licences)}.", f"Training data: {data}."]
    said += [f"Caution: {cautions}."] if cautions else []
    memory = sum(card.bytes_per_pixel * card.tile**2 for card in cards) + model.size
    return {
        "title": model.name,
        "description": " ".join(said),
        "license": _SPDX.get(licences[0], "other") if len(licences) == 1 else "other",
        "gsd": card.gsd_native,
        "mlm:name": _identifier(model.name),
        "mlm:architecture": _architecture(cards),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "ONNX",
        "mlm:memory_size": int(memory),
        "mlm:pretrained": True,
        "mlm:pretrained_source": data,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:input": [_input(card, date) for date in _dates(cards)],
        "mlm:output": [_output(card, head) for head in _heads(cards)],
        "mlm:hyperparameters": _hyperparameters(model),
    }


def _hyperparameters(model: ModelFile) -> dict[str, Any]:
    card = model.cards[0]
    found = {name: getattr(card, name) for name in _HYPERPARAMETERS}
    # What an ensemble says itself goes before what its first member says.
    return {key: model.table.get(key, value) for key, value in found.items()}


def _architecture(cards: Iterable[Card]) -> str:
    names = (card.scores.get("network") for card in cards)
    return ", ".join(dict.fromkeys(str(name) for name in names if name)) or "not stated"


def _dates(cards: Iterable[Card]) -> tuple[str, ...]:
    return ("pre",) if {card.task for card in cards} == {"localisation"} else ("pre", "post")


def _heads(cards: Iterable[Card]) -> list[str]:
    tasks = {card.task for card in cards}
    wanted = {"localisation": {"localisation", "assess"}, "damage": {"damage", "assess"}}
    return [head for head, giving in wanted.items() if giving & tasks]


def _bands(card: Card) -> list[dict[str, Any]]:
    """Return the bands of both dates, each under the name that the inputs call it by."""
    return [
        {"name": name, "description": f"{channel}, {getattr(card, f'{date}_sensor')}, {date}"}
        for date in _dates([card])
        for name, channel in zip(_names(card, date), getattr(card, f"{date}_channels"), strict=True)
    ]


def _names(card: Card, date: str) -> list[str]:
    return [f"{date}-{channel}".replace(" ", "-") for channel in getattr(card, f"{date}_channels")]


def _shape(card: Card, channels: int) -> list[int]:
    side = card.tile if card.context == "global" else -1
    return [-1, channels, side, side]


def _input(card: Card, date: str) -> dict[str, Any]:
    names = _names(card, date)
    statistics = "" if card.scene_statistics == "none" else f"; {card.scene_statistics} the scene"
    return {
        "name": date,
        "description": f"the image {'before' if date == 'pre' else 'after'}, {card.gsd_native:g} m "
        f"a pixel; scaling is inside the graph{statistics}",
        "bands": names,
        "input": {
            "shape": _shape(card, len(names)),
            "dim_order": [*_DIMENSIONS],
            "data_type": "uint8",
        },
        "value_scaling": None,
        "resize_type": None,
        "pre_processing_function": None,
    }


def _output(card: Card, head: str) -> dict[str, Any]:
    names = ["building"] if head == "localisation" else [grade.label for grade in GRADES]
    return {
        "name": head,
        "description": f"channels: {', '.join(names)}",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": _shape(card, len(names)),
            "dim_order": [*_DIMENSIONS],
            "data_type": "float32",
        },
        "classification:classes": [
            {"value": number, "name": name, "description": name.replace("-", " ")}
            for number, name in enumerate(names)
        ],
        "post_processing_function": None,
    }


def _assets(
    model: ModelFile, file_hash: str, bands: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    facts: dict[str, Any] = {
        "title": f"{model.name}, for geodamage",
        "roles": ["data", "mlm:model"],
        "file:checksum": _MULTIHASH + file_hash,
        "bands": bands,
    }
    if model.card is not None:
        facts["file:size"] = model.size
        return {"model": _asset(model.path, facts)}
    assets = {"model": _asset(model.path, facts)}
    for number, member in enumerate(model.members, 1):
        if member.card is not None:
            path = model.path.with_name(str(member.table["file"]))
            assets[f"member-{number}"] = _asset(path, {"roles": ["data", "mlm:weights"]})
    return assets


def _asset(path: Path, facts: dict[str, Any]) -> dict[str, Any]:
    is_graph = path.suffix.lower() == ".onnx"
    kind = "application/octet-stream; framework=onnx" if is_graph else "application/toml"
    artifact = {"mlm:artifact_type": "onnx" if is_graph else "geodamage-ensemble"}
    return {"href": path.name, "type": kind, **(artifact if "mlm:model" in facts["roles"] else {}),
            **facts}  # fmt: skip


def _identifier(name: str) -> str:
    """Return a name as `mlm:name` may be: letters first, no other signs than these."""
    plain = re.sub(r"[^a-zA-Z0-9_.-]+", "-", name).strip("_.-")
    return plain if re.fullmatch(r"[a-zA-Z].+[a-zA-Z0-9]", plain) else f"model-{plain or 'x'}"
