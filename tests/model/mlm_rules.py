"""The rules of the Machine Learning Model extension of STAC, version 1.5, as a JSON schema.

Written from the specification and its changelog, for items; the published schema is not at hand
without the network, and the packages that know the extension do not hold it.
"""

from typing import Any

TASKS = (
    "regression", "classification", "scene-classification", "detection", "object-detection",
    "segmentation", "semantic-segmentation", "instance-segmentation", "panoptic-segmentation",
    "similarity-search", "generative", "image-captioning", "super-resolution", "downscaling",
)  # fmt: skip
ACCELERATORS = (
    "amd64", "cuda", "xla", "amd-rocm", "intel-ipex-cpu", "intel-ipex-gpu", "macos-arm", None,
)  # fmt: skip
RESIZES = (
    "crop", "pad", "interpolation-nearest", "interpolation-linear", "interpolation-cubic",
    "interpolation-area", "interpolation-lanczos4", "interpolation-max", "wrap-fill-outliers",
    "wrap-inverse-map", None,
)  # fmt: skip
TYPES = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
    "float32", "float64", "cint16", "cint32", "cfloat32", "cfloat64", "other",
)  # fmt: skip
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}


def need(*names: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": [*names], "properties": properties}


def listed(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


SHAPED = need(
    "shape", "dim_order", "data_type",
    shape=listed({"type": "integer", "minimum": -1}, minItems=1),
    dim_order=listed({**TEXT, "pattern": "^[a-z-_]+$"}, minItems=1, uniqueItems=True),
    data_type={"enum": [*TYPES]},
)  # fmt: skip
SCALINGS = {
    "min-max": ("minimum", "maximum"), "clip": ("minimum", "maximum"),
    "z-score": ("mean", "stddev"), "clip-min": ("minimum",), "clip-max": ("maximum",),
    "offset": ("value",), "scale": ("value",),
    "processing": ("format", "expression"),
}  # fmt: skip
SCALING = {"oneOf": [need("type", *keys, type={"const": kind}) for kind, keys in SCALINGS.items()]}
EXPRESSION = {"oneOf": [{"type": "null"}, need("format", "expression", format=TEXT)]}
INPUT = need(
    "name", "input",
    name=TEXT,
    description=TEXT,
    bands=listed({"oneOf": [TEXT, need("name", name=TEXT)]}),
    input=SHAPED,
    value_scaling={"oneOf": [{"type": "null"}, listed(SCALING, minItems=1)]},
    resize_type={"enum": [*RESIZES]},
    pre_processing_function=EXPRESSION,
)  # fmt: skip
TASKED = listed({"enum": [*TASKS]}, uniqueItems=True)
CLASS = need("value", value={"type": "integer"}, name={**TEXT, "pattern": "^[0-9A-Za-z-_]+$"})
OUTPUT = need(
    "name", "tasks", "result",
    name=TEXT,
    description=TEXT,
    tasks=TASKED,
    result=SHAPED,
    post_processing_function=EXPRESSION,
    **{"classification:classes": listed(CLASS)},
)  # fmt: skip
FIELDS = {
    "mlm:name": {"type": "string", "pattern": r"^[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]$"},
    "mlm:architecture": {"type": "string"},
    "mlm:tasks": TASKED,
    "mlm:framework": {**TEXT, "pattern": r"^(?=[^\s._\-]).*[^\s._\-]$"},
    "mlm:framework_version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
    "mlm:memory_size": COUNT,
    "mlm:total_parameters": COUNT,
    "mlm:pretrained": {"type": "boolean"},
    "mlm:pretrained_source": {"type": ["string", "null"]},
    "mlm:batch_size_suggestion": COUNT,
    "mlm:accelerator": {"enum": [*ACCELERATORS]},
    "mlm:accelerator_constrained": {"type": "boolean"},
    "mlm:accelerator_summary": {"type": "string"},
    "mlm:accelerator_count": {"type": "integer", "minimum": 1},
    "mlm:input": listed(INPUT),
    "mlm:output": listed(OUTPUT),
    "mlm:hyperparameters": {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {"^[0-9a-zA-Z_.-]+$": True},
        "additionalProperties": False,
    },
}
ITS_OWN = {"patternProperties": {"^(?!mlm:)": {}}, "additionalProperties": False}
#: A model asset says what kind of artefact it is, and no other does.
MODEL_ROLE = need("roles", roles={"contains": {"const": "mlm:model"}})
ASSET = {
    "properties": {
        "mlm:artifact_type": TEXT,
        "mlm:compile_method": {"enum": ["aot", "jit", None]},
        "mlm:entrypoint": TEXT,
    },
    **ITS_OWN,
    "if": MODEL_ROLE,
    "then": {"required": ["mlm:artifact_type"]},
    "else": {"not": {"required": ["mlm:artifact_type"]}},
}
ITEM = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **need(
        "type", "stac_version", "stac_extensions", "properties", "assets",
        type={"const": "Feature"},
        stac_version={"pattern": r"^1\.[1-9]\d*\."},  # whose `bands` the inputs name
        stac_extensions={
            "contains": {"pattern": r"^https://stac-extensions\.github\.io/mlm/v1\.5\.\d/schema\.json$"}
        },
        properties={
            "required": [
                "mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output", "bands",
            ],
            "properties": {**FIELDS, "bands": listed(need("name", name=TEXT), minItems=1)},
            **ITS_OWN,
        },
        assets={"type": "object", "additionalProperties": ASSET},
    ),
    "not": {"properties": {"assets": {"additionalProperties": {"not": MODEL_ROLE}}}},
}  # fmt: skip
