from geodamage.words import counted


def test_one_is_singular_and_every_other_number_is_not():
    assert [counted(n, "look") for n in (0, 1, 2, 1500)] == [
        "0 looks", "1 look", "2 looks", "1,500 looks"
    ]  # fmt: skip
    assert [counted(n, "scene is", "scenes are") for n in (1, 2)] == ["1 scene is", "2 scenes are"]
