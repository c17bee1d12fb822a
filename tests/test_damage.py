import pytest

from geodamage.damage import (
    BACKGROUND,
    COLOUR_NOT_ASSESSED,
    COLOURS,
    COLOURS_SAFE,
    FROM_SCALE,
    GRADES,
    LABELS,
    NOT_ASSESSED,
    TO_SCALE,
    UNCLASSIFIED,
    DamageGrade,
    rgb,
)


def test_the_codes_and_names_are_those_of_xbd():
    assert [int(grade) for grade in GRADES] == [1, 2, 3, 4]
    labels = ["no-damage", "minor-damage", "major-damage", "destroyed"]
    assert [grade.label for grade in GRADES] == labels
    assert BACKGROUND not in list(GRADES)
    assert NOT_ASSESSED not in list(GRADES)


@pytest.mark.parametrize("grade", GRADES)
def test_a_label_leads_back_to_its_grade(grade):
    assert DamageGrade.from_label(grade.label) is grade


@pytest.mark.parametrize("label", [UNCLASSIFIED, "No-Damage", ""])
def test_a_label_without_a_grade_is_refused_with_the_known_ones(label):
    with pytest.raises(ValueError, match=f"{label}.*no-damage, .*destroyed"):
        DamageGrade.from_label(label)


@pytest.mark.parametrize("scale", sorted(set(FROM_SCALE) & set(TO_SCALE)))
def test_a_crosswalk_there_and_back_keeps_the_grade(scale):
    for grade in GRADES:
        assert FROM_SCALE[scale][TO_SCALE[scale][grade]] == grade


@pytest.mark.parametrize("scale", TO_SCALE)
def test_every_grade_has_a_label_in_every_scale(scale):
    assert set(TO_SCALE[scale]) == set(GRADES)


def test_crosswalks_keep_the_order_of_harm():
    for scale in ("siamese_unet", "ems98"):
        grades = [grade for _, grade in sorted(FROM_SCALE[scale].items()) if grade is not None]
        assert grades == sorted(grades)


def test_the_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        LABELS[DamageGrade.MINOR] = "scratched"


def test_every_grade_has_its_own_colour():
    for colours in (COLOURS, COLOURS_SAFE):
        assert len({*map(rgb, colours.values()), rgb(COLOUR_NOT_ASSESSED)}) == 5


def test_rgb_reads_a_hexadecimal_colour():
    assert rgb("#ff8c1a") == (255, 140, 26)
