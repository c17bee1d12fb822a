"""Loading a model or an ensemble, by the name of a bundled or an installed one, or by path."""

import os
from difflib import get_close_matches
from importlib import resources
from os import PathLike
from pathlib import Path

from geodamage.errors import ModelError, ModelNotFoundError
from geodamage.model.card import read_card
from geodamage.model.enlarged import Enlarged
from geodamage.model.ensemble import Ensemble, with_ways
from geodamage.model.ensemble_file import load_ensemble
from geodamage.model.onnx import Model, read_model_bytes

DEFAULT_MODEL = "fast"


def load_model(
    source: str | PathLike[str] = DEFAULT_MODEL,
    *,
    device: str = "auto",
    threads: int = 0,
    engine: str = "auto",
    precision: str = "stored",
    tta: str = "none",
    scales: tuple[float, ...] = (1.0,),
) -> Model | Ensemble:
    """Load a model or an ensemble, by the name of a bundled or an installed one, or by path.

    Parameters
    ----------
    source
        Name of a bundled or an installed model, or path of a `.onnx` or of an ensemble's `.toml`.
    device
        `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt`, `tensorrt:N` or `openvino`; `auto` is CUDA
        where ONNX Runtime has it, else the processor.
    threads
        CPU threads for inference; 0 lets ONNX Runtime choose.
    engine
        `onnxruntime`; `openvino`, on the processor; or `auto`, which with device `cpu` is OpenVINO
        where it was found to be correct and faster on this machine.
    precision
        `stored` is that of the file. `float32`, `bfloat16` and `int8` are refused if the card does
        not say that buildings keep their grades. `auto` is `bfloat16` if the card allows it and it
        was found to be faster on this machine, otherwise `stored`.
    tta
        `none`, `flips` to average over four mirror images, `full` to average over these and the
        same transposed, or `enlarged` to look at the image enlarged by half, too, and keep what
        either look finds.
    scales
        Sizes of the image at which the model runs, too; 1 is the image's own.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    ModelError
        If it does not fit its card or does not run.
    DeviceError
        If the device is not there.
    """
    path = find_model(source)
    if path.suffix.lower() == ".toml":
        model: Model | Ensemble = load_ensemble(path, device, threads, engine, precision)
    else:
        if precision == "int8":
            path = int8_variant(path)
        model = Model(path, device=device, threads=threads, engine=engine, precision=precision)
    if tta == "enlarged":
        return Enlarged(model if scales == (1.0,) else with_ways(model, "none", scales))
    return model if tta == "none" and scales == (1.0,) else with_ways(model, tta, scales)


def int8_variant(path: Path) -> Path:
    """Return the int8 variant of a model that lies beside it: `NAME-int8.onnx`; or itself.

    Raises
    ------
    ModelError
        If there is none, it is one of another model, or grades otherwise.
    """
    card = read_card(read_model_bytes(path), str(path))
    if card.precision == "int8":
        return path
    variant = path.with_name(f"{path.stem}-int8{path.suffix}")
    make = f"make one by geodamage models optimise {path} --precision int8"
    if not variant.is_file():
        raise ModelNotFoundError(f"--precision int8: no {variant.name} beside {path}; {make}")
    other = read_card(read_model_bytes(variant), str(variant))
    if other.parent_sha256 != card.sha256:
        raise ModelError(f"--precision int8: {variant} was made of another model; {make}")
    if other.parity.get("passed") is not True:
        raise ModelError(
            f"--precision int8: the card of {variant} does not say that grades stay the same; "
            "give it by --model to use it anyway"
        )
    return variant


def bundled_models() -> dict[str, Path]:
    """Return the models that came with the package, by name; the default one comes first."""
    folder = Path(str(resources.files("geodamage") / "model" / "bundled"))
    files = {path.stem: path for path in folder.glob("*") if path.suffix in (".onnx", ".toml")}
    names = sorted(files, key=lambda name: (name != DEFAULT_MODEL, name))
    return {name: files[name] for name in names}


def models_folder() -> Path:
    """Return the folder whose models are known by name: GEODAMAGE_MODELS, or one of the user's."""
    if told := os.environ.get("GEODAMAGE_MODELS"):
        return Path(told)
    home = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    base = Path(home) if home else Path.home() / ".local" / "share"
    return base / "geodamage" / "models"


def installed_models() -> dict[str, Path]:
    """Return the models in the user's folder, by name; a bundled one of that name goes first.

    Raises
    ------
    ModelNotFoundError
        If there is such a folder, and it cannot be read.
    """
    folder = models_folder()
    try:
        files = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ModelNotFoundError(
            f"{folder}: cannot be read ({error.strerror}), so installed models are unknown; let "
            "your user read it, or set GEODAMAGE_MODELS to a folder that may be read"
        ) from error
    tables = [path.stem for path in files if path.suffix == ".toml"]
    # The members of an ensemble NAME lie beside it as NAME-….onnx, and are no models to choose.
    graphs = [
        path
        for path in files
        if path.suffix == ".onnx" and not any(path.name.startswith(f"{t}-") for t in tables)
    ]
    found = {path.stem: path for path in [*graphs, *(p for p in files if p.suffix == ".toml")]}
    taken = bundled_models()
    return {name: path for name, path in sorted(found.items()) if name not in taken}


def find_model(source: str | PathLike[str]) -> Path:
    """Return the path of a model given by name or path."""
    known, path = bundled_models(), Path(source)
    is_file = path.suffix.lower() in (".onnx", ".toml")
    if str(source) not in known and not is_file:
        known |= installed_models()
    if str(source) in known:
        return known[str(source)]
    if not is_file:
        names = ", ".join(known) or "none"
        near = get_close_matches(str(source), known, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ModelNotFoundError(
            f"{source}: no model of that name ({names}), and no .onnx or .toml file{meant}"
        )
    return path
