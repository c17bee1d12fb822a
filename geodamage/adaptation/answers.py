"""Answers to learn from, with the chance of each building to be asked for."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from geodamage.errors import AnswersError
from geodamage.reviews.answers import joined, read_answers, read_rows

#: What the journal of the QGIS plugin is called after the sample.
JOURNAL_END = ".reviews.jsonl"


def read_reviewed(reviewed: Path, answers: Sequence[Path] = ()) -> pd.DataFrame:
    """Read answers, and the chances of their buildings from the sample.

    A sample holds more damage than the ground does. Without the chances a head would be calibrated
    to the sample, and would call too many buildings damaged.

    Parameters
    ----------
    reviewed
        The sample where `answers` are given; else any file of answers. Beside the journal of a
        sample lies the sample itself.
    answers
        Files of answers.

    Returns
    -------
    DataFrame
        A row for each building and reviewer, with the columns of
        `geodamage.reviews.answers.read_answers`.

    Raises
    ------
    AnswersError
        If a file makes no sense, or `reviewed` is no sample.
    InputError
        If a file cannot be read.
    """
    if answers:
        return _with_chances(joined([read_answers(path) for path in answers]), reviewed)
    said = read_answers(reviewed)
    sample = Path(str(reviewed).removesuffix(JOURNAL_END))
    if sample != reviewed and sample.is_file() and "inclusion_probability" in read_rows(sample):
        return _with_chances(said, sample)
    return said


def _with_chances(said: pd.DataFrame, sample: Path) -> pd.DataFrame:
    table = read_rows(sample)
    missing = [n for n in ("building_id", "inclusion_probability") if n not in table.columns]
    if missing:
        raise AnswersError(
            f"{sample}: is not a sample (no field {missing[0]}); give what `geodamage sample`"
            " wrote, or the answers alone by --reviewed"
        )
    chances = dict(
        zip(
            table["building_id"].astype(str),
            pd.to_numeric(table["inclusion_probability"], errors="coerce"),
            strict=True,
        )
    )
    known = said["building_id"].map(chances).astype("float64")
    return said.assign(inclusion_probability=known)
