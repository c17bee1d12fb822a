"""The network that features come from: a bundled graph, free for commercial use.

Source: EfficientNet-Lite0 (Apache-2.0), as `geodamage.networks.lite_features` exports it; the
licence note stands beside the file.
"""

import hashlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from geodamage.errors import ModelError
from geodamage.model.onnx import read_model_bytes
from geodamage.model.session import first_line, session_options, start

#: Pixels of the image for one place of its map.
STRIDE = 4
#: Working memory of the network, bytes for each pixel of a window. Measured as what the peak of a
#: process grows by: 175 and 176 at 544 and 1056 pixels a side, by one and two threads.
BYTES_PER_PIXEL = 180

Map = npt.NDArray[np.float32]


class _Needs(NamedTuple):
    """What starting a session asks of a card."""

    precision: str = "fp32"


def bundled_network() -> Path:
    """Return the path of the network that came with the package."""
    folder = resources.files("geodamage") / "adaptation" / "bundled"
    return Path(str(folder / "lite0-stride4.onnx"))


class FeatureNetwork:
    """The network, loaded.

    Parameters
    ----------
    path
        The bundled one unless given.
    device, threads
        The same as of `geodamage.model.loading.load_model`.

    Attributes
    ----------
    name
        Name of the file, without extension.
    sha256
        Hash of its bytes: features of two networks do not go together.
    resident_bytes
        Size of the file.

    Raises
    ------
    ModelError
        If it does not run.
    """

    def __init__(self, path: Path | None = None, *, device: str = "auto", threads: int = 0) -> None:
        self._path = bundled_network() if path is None else path
        blob = read_model_bytes(self._path)
        self.name = self._path.stem
        self.sha256 = hashlib.sha256(blob).hexdigest()
        self.resident_bytes = len(blob)
        options = session_options(threads, True)
        self._session, self.provider = start(blob, _Needs(), self._path, device, options)
        #: Channels of its map.
        self.channels = int(self._session.get_outputs()[0].shape[1])

    def __call__(self, image: npt.NDArray[np.uint8]) -> Map:
        """Return what the network says of uint8 (3, rows, columns), red, green, blue.

        Returns
        -------
        float32 (channels, rows / `STRIDE`, columns / `STRIDE`)
        """
        try:
            found = self._session.run(None, {"image": image[None]})
        except Exception as error:  # ONNX Runtime's errors share no public root
            raise ModelError(
                f"{self._path}: does not run on {image.shape}: {first_line(error)}; "
                "try another --device"
            ) from error
        result: Map = found[0][0]
        return result
