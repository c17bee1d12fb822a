import re
import warnings
from pathlib import Path

import pytest

from geodamage import errors
from geodamage.errors import (
    GeodamageError,
    GeodamageWarning,
    one_line,
    without_advice,
    without_secrets,
)

PACKAGE = Path(errors.__file__).parent
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, Exception)
}

#: Of the design: 1 internal, 2 usage, 4 input, 5 model, 6 output, 7 resource limit.
EXIT_CODES = {
    "GeodamageError": 1,
    "OptionError": 2,
    "MissingExtraError": 2,
    "InputError": 4,
    "SceneError": 4,
    "SceneReadError": 4,
    "FootprintError": 4,
    "LabelError": 4,
    "ModelError": 5,
    "ModelNotFoundError": 5,
    "ChecksumError": 5,
    "CheckpointError": 5,
    "ScoringError": 4,
    "ManifestError": 4,
    "AnswersError": 4,
    "AdaptationError": 4,
    "LedgerError": 6,
    "DeviceError": 5,
    "OutputError": 6,
    "OutputExistsError": 6,
    "ResourceError": 7,
}


def drawn():
    """Read the trees in the docstring: name -> (parent, other base, exit code of the line)."""
    line = re.compile(
        r"(?P<indent>[│├└─ ]*)(?P<name>\w+(?:Error|Warning))(?: +\((?P<base>\w+)\))?(?P<rest>.*)"
    )
    found, path = {}, []
    for text in errors.__doc__.splitlines()[2:]:
        match = line.fullmatch(text)
        if not match:
            continue
        depth = len(match["indent"]) // 3
        path = [*path[:depth], match["name"]]
        code = re.match(r"\s*(?:exit code )?(\d)\b", match["rest"])
        found[match["name"]] = (
            path[-2] if depth else None,
            match["base"],
            int(code[1]) if code else None,
        )
    return found


def test_the_tree_that_is_drawn_is_that_of_the_classes():
    tree = {}
    for name, value in CLASSES.items():
        ours = [base.__name__ for base in value.__bases__ if base.__name__ in CLASSES]
        others = [b.__name__ for b in value.__bases__ if b.__name__ not in CLASSES]
        others = [base for base in others if base != "Exception"]
        assert len(ours) <= 1
        assert len(others) <= 1
        tree[name] = (ours[0] if ours else None, others[0] if others else None)
    assert {name: (parent, base) for name, (parent, base, _) in drawn().items()} == tree


def test_the_exit_codes_that_are_drawn_are_those_of_the_classes():
    for name, (parent, _, code) in drawn().items():
        if issubclass(CLASSES[name], GeodamageError):
            assert CLASSES[name].exit_code == (code or CLASSES[parent].exit_code), name


def test_the_exit_codes_are_those_of_the_design():
    found = {n: c.exit_code for n, c in CLASSES.items() if issubclass(c, GeodamageError)}
    assert found == EXIT_CODES


@pytest.mark.parametrize("name", CLASSES)
def test_everything_says_what_it_is(name):
    assert CLASSES[name].__doc__
    assert str(CLASSES[name]("pre.tif: why; what to do")) == "pre.tif: why; what to do"


def test_errors_are_caught_by_what_python_calls_them():
    for base, names in {
        ValueError: ["OptionError", "SceneError", "FootprintError", "ModelError"],
        OSError: ["SceneReadError", "OutputError"],
        FileNotFoundError: ["ModelNotFoundError"],
        FileExistsError: ["OutputExistsError"],
        MemoryError: ["ResourceError"],
        ImportError: ["MissingExtraError"],
    }.items():
        assert all(issubclass(CLASSES[name], base) for name in names)


def test_warnings_are_of_one_family():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("odd", errors.GsdWarning, stacklevel=1)
    assert issubclass(caught[0].category, GeodamageWarning)
    assert issubclass(GeodamageWarning, UserWarning)


def test_what_others_say_is_brought_to_one_line():
    assert one_line(ValueError("first\n  second\tthird")) == "first second third"
    assert one_line(ValueError()) == ""


def test_the_advice_of_gdal_for_its_own_command_line_is_left_out():
    said = "'a.gpkg' not recognized as being in a supported file format;\nuse ogrinfo --formats"
    reason = without_advice(RuntimeError(said))
    assert reason == "'a.gpkg' not recognized as being in a supported file format"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://h/a.tif?X-Amz-Signature=K: damaged", "https://h/a.tif?***: damaged"),
        ("(/vsicurl/https://h/a.tif?sig=K&e=1)", "(/vsicurl/https://h/a.tif?***)"),
        ("https://u:K@h:8080/a.tif, rows 0-9", "https://***@h:8080/a.tif, rows 0-9"),
        ("a 'http://h/a.tif?k=K' and http://h/b.tif?k=K", "a 'http://h/a.tif?***' and http://h/b.tif?***"),
        ("is it of one place? see s3://bucket/a.tif", "is it of one place? see s3://bucket/a.tif"),
        ("a@b.tif?", "a@b.tif?"),
        ("/vsiaz/c/b.tif?sv=1&sig=K: away", "/vsiaz/c/b.tif?***: away"),
        ("/vsis3/b/k.tif?X-Amz-Signature=K", "/vsis3/b/k.tif?***"),
        ("http://h/a b.tif?sig=K and", "http://h/a b.tif?sig=*** and"),
        ("http:/h/a.tif?token=K&x=1", "http:/h/a.tif?token=***&x=1"),
        ("http://h/a.tif#access_token=K", "http://h/a.tif#access_token=***"),
        ("is the key=4? yes", "is the key=4? yes"),
    ],
)  # fmt: skip
def test_urls_tell_no_secrets(text, told):
    assert without_secrets(text) == told
    assert str(errors.SceneError(text)) == str(errors.GsdWarning(text)) == told
    assert str(errors.SceneReadError(text)) == str(errors.OutputExistsError(text)) == told


def test_no_message_names_an_index_that_has_no_geodamage():
    # `install` names the way that works from a clone.
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert len(texts) > 100
    assert [str(path) for path, text in texts.items() if re.search(r"geodamage\[\w", text)] == []
