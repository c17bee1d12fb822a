"""What is augmented, how often and how far."""

from dataclasses import dataclass, fields

from geodamage.damage import GRADES
from geodamage.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Probabilities and reaches; in a recipe every field has the prefix `augmentation_`.

    A field of which nothing else is said is the probability of being applied. Steps come in the
    order of the fields, but for the labels, which come last.
    """

    images: str = "both"
    """`both`, or `pre` for localisation: post is dropped."""
    crop: int = 512
    """Rows and columns of what comes out, pixels."""

    post_instead: float = 0.0
    """Post takes the place of pre; masks stay."""
    undamaged: float = 0.0
    """Pre takes the place of post, and every grade becomes no-damage."""

    first_crop: float = 0.0
    """A square of so many sides of the crop is cut first, so that less is bent; 0 cuts none."""
    transpose: float = 0.0
    """Rows become columns."""
    flip_vertical: float = 0.0
    """Upside down."""
    flip_horizontal: float = 0.0
    """Left to right."""
    quarter_turn: float = 0.0
    """0 to 3 quarter turns, one as likely as the other."""
    shift: float = 0.0
    """Both images and masks are moved; what is missing is mirrored (reflect-101)."""
    shift_reach: tuple[int, int] = (0, 320)
    """Least and most pixels of that, down and across, either way."""
    rotate: float = 0.0
    """Turned and scaled about a point near the middle."""
    rotate_degrees: int = 10
    """Most degrees of that, either way; whole ones."""
    rotate_scale: tuple[float, float] = (0.9, 1.1)
    """Least and greatest scale of that."""
    rotate_centre: int = 320
    """Most pixels between that point and the middle, down and across."""
    misregistration: float = 0.0
    """Post alone is moved; the masks stay with pre."""
    misregistration_reach: int = 32
    """Most pixels of that, down and across, either way."""

    grid_distortion: float = 0.0
    """Rows and columns of a grid are stretched and squeezed, images and masks."""
    optical_distortion: float = 0.0
    """Everything is bent as by a lens."""

    crop_jitter: float = 0.0
    """Another size is cut and brought to that of the crop."""
    crop_scale: tuple[float, float] = (1.0, 1.0)
    """Least and greatest side of that, as a share of the crop."""
    gsd_jitter: float = 0.0
    """The side is multiplied once more, as if the pixels were smaller or larger."""
    gsd_range: tuple[float, float] = (0.6, 1.6)
    """Least and greatest factor of that."""
    crop_tries: tuple[int, int] = (1, 1)
    """Least and most places tried; the one with the highest score is taken."""
    crop_weights: tuple[float, ...] = ()
    """Score of a pixel of each grade; empty counts building pixels."""

    fourier_style: float = 0.0
    """Each image takes low frequencies from the donor's."""
    fourier_band: tuple[float, float] = (0.0, 0.01)
    """Least and greatest half-width of the band, as a share of the crop."""
    colour_style: float = 0.0
    """Each image takes mean and spread of its colours from the donor's, by a random part."""
    cutmix: float = 0.0
    """A box of the donor with rare grades is pasted, images and masks."""
    cutmix_grades: tuple[int, ...] = (2, 3)
    """What is rare."""
    cutmix_sides: tuple[float, float] = (0.2, 0.5)
    """Least and greatest side of the box, as a share of the crop."""

    channel_shift: float = 0.0
    """A whole number is added to each channel of pre; if not, as likely to those of post."""
    channel_shift_reach: int = 5
    """Most of that, either way."""
    hsv_shift: float = 0.0
    """The same with hue, saturation, value."""
    hsv_shift_reach: tuple[int, int, int] = (5, 5, 5)
    """Most of that, either way."""
    hsv_otherwise: bool = False
    """Shift hue, saturation and value only where channels were not shifted."""

    haze: float = 0.0
    """Each image is hazed."""
    haze_range: tuple[float, float] = (0.1, 0.5)
    """Least and greatest thickness."""
    first_group: float = 0.0
    """Each image: one of CLAHE, noise and blur is tried, each if the one before was not drawn."""
    clahe: float = 0.0
    """Probability of equalisation (CLAHE) in the first group."""
    noise: float = 0.0
    """Probability of noise in the first group."""
    noise_deviation: float = 5.5
    """Standard deviation of the noise, of 255."""
    blur: float = 0.0
    """Probability of blur in the first group."""
    second_group: float = 0.0
    """Each image that the first group missed: one of saturation, brightness, contrast, likewise."""
    saturation: float = 0.0
    """Probability of another saturation in the second group."""
    saturation_range: tuple[float, float] = (0.9, 1.1)
    """Least and greatest factor."""
    brightness: float = 0.0
    """Probability of another brightness in the second group."""
    brightness_range: tuple[float, float] = (0.9, 1.1)
    """Least and greatest factor."""
    contrast: float = 0.0
    """Probability of another contrast in the second group."""
    contrast_range: tuple[float, float] = (0.9, 1.1)
    """Least and greatest factor."""
    motion_blur: float = 0.0
    """Each image is smeared along a short line."""
    holes: float = 0.0
    """Each image gets black holes, up to eight of 8 x 8 pixels; the masks do not."""
    elastic: float = 0.0
    """Pixels of each image are moved a little, of the masks not."""
    elastic_alpha: tuple[float, float] = (0.25, 1.2)
    """Least and greatest step, pixels, before smoothing."""
    elastic_sigma: float = 0.2
    """Smoothing of the steps, pixels."""
    coarsen: float = 0.0
    """Each image is shown as a coarser sensor would show it."""
    coarsen_range: tuple[float, float] = (1.2, 2.0)
    """Least and greatest width of its pixels."""
    jpeg: float = 0.0
    """Each image is compressed."""
    jpeg_quality: tuple[int, int] = (40, 95)
    """Lowest and highest quality."""

    dilation: float = 0.0
    """Every grade grows by two pixels (a square of 5 x 5)."""
    precedence: tuple[int, ...] = (2, 3, 4, 1)
    """Where grades meet, the first of these wins."""
    ignore_border: int = 0
    """Pixels on either side of a border between codes that become 255."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "first_crop":
                if value != 0 and value < 1:
                    raise OptionError(f"augmentation_first_crop = {value}: 0, or 1 and more")
            elif field.type is float and field.default == 0.0 and not 0 <= value <= 1:
                raise OptionError(f"augmentation_{field.name} = {value} is no probability")
            if field.type is int and value < 0:
                raise OptionError(f"augmentation_{field.name} = {value} is less than none")
            if field.type in (tuple[int, int], tuple[float, float]) and value[0] > value[1]:
                raise OptionError(f"augmentation_{field.name} = {list(value)}: the least is first")
        if self.crop < 1:
            raise OptionError(f"augmentation_crop = {self.crop} is no size")
        if self.images not in ("both", "pre"):
            raise OptionError(f"augmentation_images = {self.images!r}; it is 'both' or 'pre'")
        if len(self.crop_weights) not in (0, len(GRADES)):
            raise OptionError("augmentation_crop_weights: one for each of four grades, or none")
        if sorted(self.precedence) != list(GRADES):
            raise OptionError("augmentation_precedence: each of the grades 1 to 4, once")

    @property
    def needs_donor(self) -> bool:
        """Whether a second sample is needed."""
        return max(self.fourier_style, self.colour_style, self.cutmix) > 0
