"""The form of a report: the buildings of a sample, one by one, for a person to say what they are.

The grade that the result gives is hidden until a building is answered, for it would lead. The page
sends nothing; what was answered is saved from it as JSON that `geodamage estimate` reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.damage import GRADES, LABELS, DamageGrade
from geodamage.errors import InputError
from geodamage.output.layers import read_facts, read_layer
from geodamage.report.pictures import Chip, Imagery, as_photograph, read_chips
from geodamage.report.view import View

#: Pixels a side of a picture of a building: about what two of them take on a laptop.
SIDE = 420
#: Buildings that a page asks for; a picture has some 30 KB, and a browser should stay quick.
MOST = 500

#: What can be answered: the key, the answer as `estimate` reads it, and what it means.
#: Source: Gupta et al. 2019, "xBD", table 2 (the Joint Damage Scale), in our words.
ANSWERS: tuple[tuple[str, str, str], ...] = (
    ("1", "no-damage", "Undisturbed: no sign of water, fire, or damage to roof and structure."),
    ("2", "minor-damage", "Burnt in part, water around it, roof elements missing, or cracks."),
    ("3", "major-damage", "Wall or roof collapsed in part, or surrounded by water or mud."),
    ("4", "destroyed", "Burnt out, collapsed, covered with water or mud, or gone."),
    ("x", "no building", "The outline was no building before, either."),
    ("u", "unclear", "The images do not show it."),
)


@dataclass(frozen=True)
class Form:
    """What a page asks.

    Attributes
    ----------
    name
        Name of the sample.
    ids
        `building_id` of each building, in the order in which to look.
    said
        Grade of each by the result.
    pictures
        Before and after of each, as `data:` URIs.
    left_out
        Buildings of the sample that the page does not ask for.
    key
        Key of what a browser remembers: another sample has another.
    """

    name: str
    ids: tuple[str, ...]
    said: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...]
    left_out: int
    key: str

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the script of the page needs."""
        return {
            "sample": self.name,
            "key": self.key,
            "ids": self.ids,
            "said": self.said,
            "pictures": self.pictures,
            "answers": {key: answer for key, answer, _ in ANSWERS},
        }


def make_form(sample: Path, view: View, imagery: Imagery) -> Form:
    """Prepare the questions of a page.

    Parameters
    ----------
    sample
        What `geodamage sample` drew of the result.
    view
        The result that is shown.
    imagery
        Its images.

    Raises
    ------
    InputError
        If it is no sample of buildings, or none of them is in the result.
    """
    facts, frame = read_facts(sample), read_layer(sample)
    if facts.get("sample") != "buildings" or not {"building_id", "sample_order"} <= set(frame):
        raise InputError(
            f"{sample}: is not a sample of buildings; draw one with `geodamage sample`"
        )
    order = np.argsort(frame["sample_order"].to_numpy(np.int64), kind="stable")
    rows = _rows(view, [str(name) for name in frame["building_id"].iloc[order]])
    if not len(rows):
        raise InputError(
            f"{sample}: none of its buildings is in {view.source} with a grade; give the result"
            " that it was drawn of"
        )
    asked = rows[:MOST]
    shapes = view.buildings.geometry.to_numpy()[asked]
    chips = read_chips(imagery, shapes.tolist(), view.crs, side=SIDE)
    return Form(
        name=sample.stem,
        ids=tuple(str(name) for name in view.buildings["building_id"].iloc[asked]),
        said=tuple(LABELS[DamageGrade(code)] for code in view.codes[asked]),
        pictures=tuple(_pair(chip) for chip in chips),
        left_out=len(frame) - len(asked),
        key=f"{facts.get('population_sha256')} {facts.get('created')}",
    )


def _pair(chip: Chip) -> tuple[str, str]:
    """Return both pictures of a building; an empty one before where there is no such image."""
    before = "data:," if chip.pre is None else as_photograph(chip.pre)
    return before, as_photograph(chip.post)


def _rows(view: View, names: list[str]) -> npt.NDArray[np.int64]:
    """Return where buildings are in the result, of those that have a grade and a shape."""
    is_there = (view.codes > 0) & ~np.array([shape is None for shape in view.shapes])
    places = {
        str(name): row for row, name in enumerate(view.buildings["building_id"]) if is_there[row]
    }
    return np.array([places[name] for name in names if name in places], np.int64)


def form_words(form: Form | None) -> dict[str, Any] | None:
    """Return what the page says around the questions."""
    if form is None:
        return None
    codes = {LABELS[grade]: int(grade) for grade in GRADES}
    return {
        "count": f"{len(form.ids):,}",
        "left_out": f"{form.left_out:,}" if form.left_out else "",
        "name": form.name,
        "answers": [
            {"key": key, "answer": answer, "code": codes.get(answer), "means": means}
            for key, answer, means in ANSWERS
        ],
    }
