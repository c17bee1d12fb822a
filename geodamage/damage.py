"""The damage scale: codes, names, colours and crosswalks; the only place they are written."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple


class DamageGrade(IntEnum):
    """Grade of a building on the Joint Damage Scale, with the codes of xBD masks.

    Source: Gupta et al. 2019, "xBD: A Dataset for Assessing Building Damage from Satellite
    Imagery" (the scale); DIUx-xView/xView2_scoring (the codes).
    """

    NO_DAMAGE = 1
    MINOR = 2
    MAJOR = 3
    DESTROYED = 4

    @property
    def label(self) -> str:
        """The xBD subtype spelling."""
        return LABELS[self]

    @classmethod
    def from_label(cls, label: str) -> "DamageGrade":
        """Return the grade of an xBD subtype.

        Raises
        ------
        ValueError
            If no grade is spelled so; `un-classified` is a label without a grade.
        """
        for grade, text in LABELS.items():
            if text == label:
                return grade
        raise ValueError(f"unknown damage label {label!r}; known: {', '.join(LABELS.values())}")


BACKGROUND = 0
#: Code of a pixel that could not be assessed, in masks and rasters that we write.
NOT_ASSESSED = 255
#: xBD subtype of a label without a grade.
UNCLASSIFIED = "un-classified"

GRADES: tuple[DamageGrade, ...] = tuple(DamageGrade)

LABELS: Mapping[DamageGrade, str] = MappingProxyType(
    {
        DamageGrade.NO_DAMAGE: "no-damage",
        DamageGrade.MINOR: "minor-damage",
        DamageGrade.MAJOR: "major-damage",
        DamageGrade.DESTROYED: "destroyed",
    }
)

#: Green to red, the language of every peer.
COLOURS: Mapping[DamageGrade, str] = MappingProxyType(
    {
        DamageGrade.NO_DAMAGE: "#2ca25f",
        DamageGrade.MINOR: "#ffe14d",
        DamageGrade.MAJOR: "#ff8c1a",
        DamageGrade.DESTROYED: "#d7191c",
    }
)
#: Told apart without red and green. Source: ColorBrewer 4-class YlGnBu, reversed in darkness
#: so that the worst grade is the darkest.
COLOURS_SAFE: Mapping[DamageGrade, str] = MappingProxyType(
    {
        DamageGrade.NO_DAMAGE: "#ffffcc",
        DamageGrade.MINOR: "#a1dab4",
        DamageGrade.MAJOR: "#41b6c4",
        DamageGrade.DESTROYED: "#225ea8",
    }
)
COLOUR_NOT_ASSESSED = "#9e9e9e"

#: Grade of each label of another scale, name of the scale first. These tables are ours, not
#: official: each scale was made for its own purpose, and "possibly damaged" has no exact twin.
FROM_SCALE: Mapping[str, Mapping[str, DamageGrade | None]] = MappingProxyType(
    {
        "xbd": {**{text: grade for grade, text in LABELS.items()}, UNCLASSIFIED: None},
        # Source: ElenaScholz/xView2SiameseUNet, 01_data_processing.py: 0-3 and 5.
        "siamese_unet": {
            "0": DamageGrade.NO_DAMAGE,
            "1": DamageGrade.MINOR,
            "2": DamageGrade.MAJOR,
            "3": DamageGrade.DESTROYED,
            "5": None,
        },
        "ems98": {
            "0": DamageGrade.NO_DAMAGE,
            "1": DamageGrade.NO_DAMAGE,
            "2": DamageGrade.MINOR,
            "3": DamageGrade.MAJOR,
            "4": DamageGrade.MAJOR,
            "5": DamageGrade.DESTROYED,
        },
        "cems": {
            "No visible damage": DamageGrade.NO_DAMAGE,
            "Possibly damaged": DamageGrade.MINOR,
            "Damaged": DamageGrade.MAJOR,
            "Destroyed": DamageGrade.DESTROYED,
            "Not Analysed": None,
        },
        # Words of products of 2016, such as EMSR177; some write "Completed" for "Completely".
        "cems_2016": {
            "Not Affected": DamageGrade.NO_DAMAGE,
            "Negligible to slight damage": DamageGrade.MINOR,
            "Moderately Damaged": DamageGrade.MINOR,
            "Highly Damaged": DamageGrade.MAJOR,
            "Completely Destroyed": DamageGrade.DESTROYED,
            "Completed Destroyed": DamageGrade.DESTROYED,
        },
        # Codes of `Main_Damage_Site_Class`; 11 is damage from adjacent impact or debris.
        "unosat": {
            "1": DamageGrade.DESTROYED,
            "2": DamageGrade.MAJOR,
            "3": DamageGrade.MINOR,
            "4": DamageGrade.MINOR,
            "6": DamageGrade.NO_DAMAGE,
            "11": None,
        },
        "unosat_words": {
            "Destroyed": DamageGrade.DESTROYED,
            "Severe Damage": DamageGrade.MAJOR,
            "Moderate Damage": DamageGrade.MINOR,
            "Possible Damage": DamageGrade.MINOR,
            "No Visible Damage": DamageGrade.NO_DAMAGE,
            "Possible Damage From Adjacent Impact/Debris": None,
        },
        # Field `severity` of the building layers of HOT fAIr; only the worst two were published.
        "hot": {
            "none": DamageGrade.NO_DAMAGE,
            "minor": DamageGrade.MINOR,
            "major": DamageGrade.MAJOR,
            "destroyed": DamageGrade.DESTROYED,
        },
        # Codes of BRIGHT targets; 0 is background. Source: Chen et al. 2025, "BRIGHT: a globally
        # distributed multimodal building damage assessment dataset", three levels. Its "damaged"
        # is everything between, and most of it was graded as "damaged" of Copernicus EMS.
        "bright": {
            "1": DamageGrade.NO_DAMAGE,
            "2": DamageGrade.MAJOR,
            "3": DamageGrade.DESTROYED,
        },
        "fema": {
            "No Damage": DamageGrade.NO_DAMAGE,
            "Affected": DamageGrade.NO_DAMAGE,
            "Minor": DamageGrade.MINOR,
            "Major": DamageGrade.MAJOR,
            "Destroyed": DamageGrade.DESTROYED,
            "Unknown": None,
        },
    }
)

#: Label of each grade in another scale, name of the scale first.
TO_SCALE: Mapping[str, Mapping[DamageGrade, str]] = MappingProxyType(
    {
        "xbd": LABELS,
        "siamese_unet": {grade: str(grade - 1) for grade in GRADES},
        "ems98": dict(zip(GRADES, ("1", "2", "4", "5"), strict=True)),
        "cems": dict(
            zip(
                GRADES,
                ("No visible damage", "Possibly damaged", "Damaged", "Destroyed"),
                strict=True,
            )
        ),
        "unosat": dict(zip(GRADES, ("6", "3", "2", "1"), strict=True)),
        "unosat_words": dict(
            zip(
                GRADES,
                ("No Visible Damage", "Moderate Damage", "Severe Damage", "Destroyed"),
                strict=True,
            )
        ),
        "ems98_words": dict(
            zip(
                GRADES,
                (
                    "Grade 1: negligible to slight damage",
                    "Grade 2: moderate damage",
                    "Grade 4: very heavy damage",
                    "Grade 5: destruction",
                ),
                strict=True,
            )
        ),
        "fema": dict(zip(GRADES, ("No Damage", "Minor", "Major", "Destroyed"), strict=True)),
        "three_level": dict(
            zip(GRADES, ("intact", "damaged", "damaged", "destroyed"), strict=True)
        ),
        "binary": dict(zip(GRADES, ("undamaged", "damaged", "damaged", "damaged"), strict=True)),
    }
)


class Source(NamedTuple):
    """Where the words of a scale come from, and the date of what was read."""

    title: str
    date: str


SCALE_SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "xbd": Source("Gupta et al., xBD: the Joint Damage Scale", "2019-11-21"),
        "cems": Source("Copernicus EMS Rapid Mapping, grading product EMSR927", "2026-08"),
        "unosat": Source("UNOSAT, Gaza Strip Comprehensive Damage Assessment", "2025-10-11"),
        "fema": Source("FEMA, Damage Assessment Operations Manual", "2016-04"),
        "ems98": Source("Grünthal (ed.), European Macroseismic Scale 1998", "1998"),
        "microsoft": Source(
            "Microsoft AI for Good, building damage assessment, layers on HDX", "2026-06"
        ),
        "binary": Source("none: damaged or not", "2026-11-30"),
    }
)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue (0-255) of `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
