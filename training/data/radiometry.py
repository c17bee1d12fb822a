"""Radiometry: what may happen to the pixels of one image while its masks stay as they are.

Every image is uint8 (rows, columns, 3), red, green, blue; every function returns a new one.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: Weights of red, green and blue in grey.
# Source: ITU-R BT.601, as xView2 first place has it (utils.py:39, there for BGR).
GREY = np.array([0.299, 0.587, 0.114], np.float32)


def to_bytes(values: NDArray[np.floating] | NDArray[np.integer]) -> Bytes:
    """Round and clip to 0-255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def shift_channels(image: Bytes, offsets: NDArray[np.integer]) -> Bytes:
    """Add one whole number to each channel."""
    return to_bytes(image.astype(np.int16) + offsets.astype(np.int16))


def shift_hsv(image: Bytes, offsets: NDArray[np.integer]) -> Bytes:
    """Add whole numbers to hue (of 180), saturation and value (of 255)."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int16) + offsets.astype(np.int16)
    # Published (xView2 first place, utils.py:60-71): hue clipped to 0..255; it is a circle.
    hsv[..., 0] %= 180
    hsv[..., 1:] = np.clip(hsv[..., 1:], 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB))


def clahe(image: Bytes) -> Bytes:
    """Equalise the lightness, contrast limited: clip 2, 5 x 5 tiles."""
    # Published (xView2 first place, utils.py:27-32): the code for RGB applied to BGR, so that the
    # lightness was another.
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (5, 5)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def noise(image: Bytes, deviation: float, rng: np.random.Generator) -> Bytes:
    """Add Gaussian noise of mean zero."""
    # Published (xView2 first place, utils.py:17-24): of mean 30, less its own minimum, so that the
    # image always became brighter, by about 25.
    drawn = rng.standard_normal(image.shape, np.float32)
    return to_bytes(image + np.float32(deviation) * drawn)


def blur(image: Bytes) -> Bytes:
    """Take the mean of 3 x 3 pixels."""
    return np.asarray(cv2.blur(image, (3, 3)))


def saturate(image: Bytes, alpha: float) -> Bytes:
    """Blend with grey: 0 is grey, 1 the image, more is more colourful."""
    grey = (image @ GREY)[..., None]
    return to_bytes(grey + np.float32(alpha) * (image - grey))


def brighten(image: Bytes, alpha: float) -> Bytes:
    """Multiply."""
    return to_bytes(np.float32(alpha) * image)


def contrast(image: Bytes, alpha: float) -> Bytes:
    """Blend with the mean grey of the image."""
    mean = (image @ GREY).mean(dtype=np.float64)
    return to_bytes(np.float32(mean) + np.float32(alpha) * (image - np.float32(mean)))


def elastic(image: Bytes, alpha: float, sigma: float, rng: np.random.Generator) -> Bytes:
    """Move pixels by random steps up to `alpha` pixels, smoothed over `sigma` pixels."""
    # Source: Simard et al. 2003, "Best practices for convolutional neural networks".
    rows, columns = image.shape[:2]
    steps = 2 * rng.random((2, rows, columns), np.float32) - 1
    across, down = (np.float32(alpha) * cv2.GaussianBlur(s, (0, 0), sigma) for s in steps)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    moved = cv2.remap(image, x + across, y + down, cv2.INTER_LINEAR, None, cv2.BORDER_REFLECT_101)
    return np.asarray(moved)


def coarsen(image: Bytes, factor: float) -> Bytes:
    """Show the image as a sensor with pixels `factor` times as wide would have, at this size."""
    rows, columns = image.shape[:2]
    small = max(round(columns / factor), 1), max(round(rows / factor), 1)
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (columns, rows), interpolation=cv2.INTER_LINEAR))


def recompress(image: Bytes, quality: int) -> Bytes:
    """Write and read the image as JPEG."""
    # OpenCV takes the channels for blue, green, red.
    swapped = np.ascontiguousarray(image[..., ::-1])
    written = cv2.imencode(".jpg", swapped, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    read = np.asarray(cv2.imdecode(written, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(read[..., ::-1])


def haze(image: Bytes, thickness: float, rng: np.random.Generator) -> Bytes:
    """Lay uneven haze over the image; at `thickness` 1 nothing else is seen."""
    # Source: Koschmieder's law, I = J t + A (1 - t); a 4 x 4 field of t makes it uneven.
    rows, columns = image.shape[:2]
    coarse = np.float32(thickness) * (0.4 + 0.6 * rng.random((4, 4), np.float32))
    veil = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)[..., None]
    light = np.float32(rng.uniform(190, 250)) + rng.uniform(-8, 8, 3).astype(np.float32)
    veil = np.clip(veil, 0, 1)
    return to_bytes(image * (1 - veil) + light * veil)


def fourier_style(image: Bytes, other: Bytes, band: float) -> Bytes:
    """Take the amplitudes of low frequencies from another image of the same size.

    Parameters
    ----------
    band
        Half the width of the square of frequencies that is taken, as a share of the shorter side.
    """
    # Source: Yang and Soatto 2020, "FDA: Fourier Domain Adaptation for Semantic Segmentation",
    # equation 3.
    mine, theirs = (fft.rfft2(i.astype(np.float32), axes=(0, 1)) for i in (image, other))
    reach = max(int(band * min(image.shape[:2])), 1)
    for low in (np.s_[:reach, :reach], np.s_[-reach + 1 :, :reach] if reach > 1 else np.s_[:0]):
        turned = np.exp(1j * np.angle(mine[low]))
        mine[low] = np.abs(theirs[low]) * turned
    return to_bytes(fft.irfft2(mine, image.shape[:2], axes=(0, 1)))


def colour_style(image: Bytes, other: Bytes, strength: float) -> Bytes:
    """Move mean and spread of lightness and colour towards another image's; 1 is all the way."""
    # Source: Reinhard et al. 2001, "Color transfer between images"; here in CIE Lab.
    mine, theirs = (cv2.cvtColor(i, cv2.COLOR_RGB2LAB) for i in (image, other))
    (means, spreads), (their_means, their_spreads) = (
        [np.float32(moment[:, 0]) for moment in cv2.meanStdDev(lab)] for lab in (mine, theirs)
    )
    # Never more than twofold: a flat image (water, snow) would become noise.
    ratio = np.clip(their_spreads / np.maximum(spreads, 1), 0.5, 2)
    moved = (mine - means) * ratio + their_means
    mixed = to_bytes(mine + np.float32(strength) * (moved - mine))
    return np.asarray(cv2.cvtColor(mixed, cv2.COLOR_LAB2RGB))
