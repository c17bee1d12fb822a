"""Clouds and their shadows over chips: what can be graded through them, and what cannot."""

import numpy as np

from sample_data.clouds import veil

#: Opacity from which ground is not asked about; the detector of hidden ground marks it from there.
OPAQUE = 0.7
#: Kinds of `sample_data.clouds` with a shadow.
KINDS = ("cloud", "thin")
#: Share of a chip that may be hidden: of one under a closed sky nothing is learnt.
MOST = 0.6


def clouded(
    image: np.ndarray, rng: np.random.Generator, sharp: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a cloud and its shadow over an image.

    Parameters
    ----------
    image
        uint8 (size, size, 3); pixels without data, all 0, stay so.
    sharp
        How often the edges of the cloud and its shadow are hard, 0-1.

    Returns
    -------
    uint8 (size, size, 3), bool (size, size)
        The image, and the pixels whose ground is hidden.
    """
    is_sharp = sharp > 0 and rng.random() < sharp
    while True:
        seen, opacity = veil(rng, image, str(rng.choice(KINDS)), sharp=is_sharp)
        if (opacity >= OPAQUE).mean() <= MOST:
            break
    return np.where(image.any(2, keepdims=True), seen, 0).astype(np.uint8), opacity >= OPAQUE
