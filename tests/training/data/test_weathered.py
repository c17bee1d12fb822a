"""What is drawn over a chip, and what is asked about it then."""

import numpy as np

from training.data.crops import ChipOptions
from training.data.weathered import Asked, weathered

ALWAYS = ChipOptions(crop=64, wind=1.0, flood=1.0, cloud=1.0)


def asked(teacher=True):
    damage = np.zeros((64, 64), np.uint8)
    damage[10:30, 10:30] = damage[36:56, 36:56] = 1
    told = np.full((64, 64, 5), 100, np.uint8) if teacher else None
    standing = (damage > 0).astype(np.uint8)
    return Asked(damage, np.ones((64, 64), np.float32), standing, told)


def test_a_radar_sees_through_everything():
    post = np.full((64, 64), 90, np.uint8)
    known = asked()
    before = known.damage.copy()
    assert weathered(post, known, ALWAYS, (0, 0), np.random.default_rng(0)) is post
    assert np.array_equal(known.damage, before)
    assert known.teacher.all()


def test_nothing_is_drawn_unless_it_is_asked_for():
    post = np.full((64, 64, 3), 90, np.uint8)
    rng = np.random.default_rng(0)
    assert weathered(post, asked(), ChipOptions(crop=64), (0, 0), rng) is post
    assert (
        rng.random() == np.random.default_rng(0).random()
    )  # recipes of before draw the same chips


def test_no_teacher_is_asked_where_the_grade_is_another():
    post = np.random.default_rng(1).integers(60, 120, (64, 64, 3)).astype(np.uint8)
    changed = 0
    for seed in range(12):
        known = asked()
        before = known.damage.copy()
        weathered(post, known, ALWAYS, (0, 0), np.random.default_rng(seed))
        other = known.damage != before
        assert not known.teacher[other].any()
        assert (known.vote[known.damage == 255] == 0).all()
        assert set(np.unique(known.standing)) <= {0, 1, 255}
        changed += int(other.any())
    assert changed > 6


def test_a_chip_without_a_teacher_needs_none():
    post = np.full((64, 64, 3), 90, np.uint8)
    known = asked(teacher=False)
    assert weathered(post, known, ALWAYS, (0, 0), np.random.default_rng(3)).shape == post.shape
    assert known.teacher is None
