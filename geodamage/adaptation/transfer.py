"""Transfer: which change other events took for damage, as the bundled weights say.

A head starts from it, so that the answers need not teach it anew. `training.transfer` makes the
file. It was learnt from the labels of xBD, so it is under their licence, and serves only models
that are under it, too: an event model never has a stricter licence than its model.
"""

import json
from importlib import resources
from typing import Any

import numpy as np

from geodamage.adaptation.head import Floats

#: Name of the file, in `bundled`.
FILE = "transfer.json"


def bundled_transfer(network_sha256: str, licence: str) -> Floats | None:
    """Return what each standardised change weighs, float64 (d / 2,).

    Parameters
    ----------
    network_sha256
        Network of the features.
    licence
        Licence of the model that is adapted, as its card says.

    Returns
    -------
    float64 or None
        None if the weights are of another network, or the model is not under their licence.
    """
    facts = read_transfer()
    if facts["network_sha256"] != network_sha256 or facts["licence"] != licence:
        return None
    return np.array(facts["weights"], np.float64)


def read_transfer() -> dict[str, Any]:
    """Return the weights and what is known of them."""
    file = resources.files("geodamage") / "adaptation" / "bundled" / FILE
    facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return facts
