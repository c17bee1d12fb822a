"""Following: features of the buildings of a run, taken and kept while they are found."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from geodamage.adaptation.event_model import EventModel
from geodamage.adaptation.extraction import (
    BLOCK,
    KEPT_BYTES,
    KEPT_READS,
    MARGIN,
    READ,
    Extraction,
)
from geodamage.adaptation.feature_file import FeatureWriter
from geodamage.adaptation.fingerprints import Fingerprint
from geodamage.adaptation.grading import probabilities_of, regraded
from geodamage.adaptation.network import BYTES_PER_PIXEL, FeatureNetwork
from geodamage.errors import ChecksumError

#: Memory that stays taken: the maps of blocks, pixels of two dates in three colours, and one call
#: of the network.
FOLLOWING_BYTES = (
    KEPT_BYTES
    + (KEPT_READS + 1) * 6 * (BLOCK + 2 * MARGIN) * (READ * BLOCK + 2 * MARGIN)
    + BYTES_PER_PIXEL * (BLOCK + 2 * MARGIN) ** 2
)


class Following:
    """Takes features of buildings on their way to the file, and grades them by an event model.

    Parameters
    ----------
    network
        What makes features.
    extraction
        Reads them from the scene.
    event
        Grades the buildings again; None leaves their grades as they are.
    """

    def __init__(
        self, network: FeatureNetwork, extraction: Extraction, event: EventModel | None
    ) -> None:
        self.network = network
        self._extraction, self._event = extraction, event
        self._fingerprint = Fingerprint()
        self._writer: FeatureWriter | None = None
        if event is not None and event.network.sha256 != network.sha256:
            raise ChecksumError(
                f"the event model learnt from features of {event.network.name}"
                f" ({event.network.sha256[:12]}…), and this geodamage has {network.name}"
                f" ({network.sha256[:12]}…); adapt again"
            )

    def followed(self, frames: Iterator[gpd.GeoDataFrame]) -> Iterator[gpd.GeoDataFrame]:
        """Yield the buildings, graded again where there is an event model."""
        for frame in frames:
            yield self._taken(frame) if len(frame) else frame

    def _taken(self, frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        said = probabilities_of(frame)
        known = np.isfinite(said).all(1)  # the others may lie anywhere, or have no place
        features = np.zeros((len(frame), self._extraction.width), np.float16)
        features[known] = self._extraction.features(frame.bounds.to_numpy()[known])
        if self._event is not None:
            frame = regraded(frame, said, features, self._event)
        self._fingerprint.add(frame)
        if self._writer is not None:
            place = frame[["lon", "lat"]].to_numpy(dtype="float64", na_value=np.nan)
            ids = frame["building_id"].astype(str).to_list()
            self._writer.add(ids, features, said, np.nan_to_num(place))
        return frame

    @contextmanager
    def kept(self, path: Path, about: dict[str, Any]) -> Iterator[None]:
        """Keep features; the file is complete when this is left without an error.

        Parameters
        ----------
        path
            Partial file that they are written to.
        about
            What the file says of the result.
        """
        self._writer = writer = FeatureWriter(path)
        network = {"network": self.network.name, "network_sha256": self.network.sha256}
        try:
            yield
        except BaseException:
            writer.close()
            raise
        writer.finish({**network, **about, "result": self._fingerprint.hexdigest()})
