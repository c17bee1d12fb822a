import json
import re
from pathlib import Path

import pytest

from geodamage.batch.entries import Entry, read_csv, read_features, read_toml
from geodamage.errors import ManifestError
from geodamage.options.lookup import columns

ALL = {
    "model": ("m/big.onnx", "m/big.onnx"),
    "footprints": ("f.gpkg", "f.gpkg"),
    "id_field": ("osm", "osm"),
    "aoi": ("a.geojson", "a.geojson"),
    "tta": ("flips", "flips"),
    "vote": ("pixels", "pixels"),
    "tile": ("256", 256),
    "bands": ("3,2,1", [3, 2, 1]),
    "scale": ("0 3000", [0, 3000]),
    "min_area": ("12.5", 12.5),
    "simplify": ("1", 1),
    "post_sensor": ("sar", "sar"),
    "post_bands": ("2", [2]),
    "post_scale": ("-25 5", [-25, 5]),
    "registration": ("apply", "apply"),
    "obscured": ("off", "off"),
    "pre_unusable": ("u.tif", "u.tif"),
    "post_unusable": ("v.gpkg", "v.gpkg"),
    "seen_share": ("0.25", 0.25),
    "nodata": ("-9999", -9999),
    "post_nodata": ("0", 0),
    "post_only": ("false", False),
}


def expected(folder: Path) -> dict[str, object]:
    return {
        "model": str(folder / "m/big.onnx"),
        "footprints": folder / "f.gpkg",
        "id_field": "osm",
        "aoi": folder / "a.geojson",
        "tta": "flips",
        "vote": "pixels",
        "tile": 256,
        "bands": (3, 2, 1),
        "scale": (0.0, 3000.0),
        "min_area": 12.5,
        "simplify": 1.0,
        "post_sensor": "sar",
        "post_bands": (2,),
        "post_scale": (-25.0, 5.0),
        "registration": "apply",
        "obscured": "off",
        "pre_unusable": folder / "u.tif",
        "post_unusable": folder / "v.gpkg",
        "seen_share": 0.25,
        "nodata": -9999.0,
        "post_nodata": 0.0,
        "post_only": False,
    }


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def from_csv(folder: Path, text: str, **options) -> list[Entry]:
    return read_csv(write(folder / "list.csv", text), **options)


def from_features(folder: Path, *tables, **options) -> list[Entry]:
    features = [{"type": "Feature", "geometry": None, "properties": table} for table in tables]
    path = write(folder / "list.geojson", "{}")
    return read_features(path, {"type": "FeatureCollection", "features": features}, **options)


def from_toml(folder: Path, text: str, **options) -> list[Entry]:
    return read_toml(write(folder / "list.toml", text), **options)


def test_the_test_knows_every_option():
    assert ALL.keys() == columns().keys()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_gives_scenes_with_typed_options(tmp_path, delimiter):
    names = ["name", "pre", "post", "date", *ALL]
    cells = ["north", "a.tif|b.tif", "c.tif", "2026-02-07", *(text for text, _ in ALL.values())]
    text = "\r\n".join([delimiter.join(names), delimiter.join(f'"{cell}"' for cell in cells), ""])
    (entry,) = from_csv(tmp_path, "\ufeff" + text)
    assert entry.pre == (str(tmp_path / "a.tif"), str(tmp_path / "b.tif"))
    assert entry.post == (str(tmp_path / "c.tif"),)
    assert (entry.name, entry.date) == ("north", "2026-02-07")
    assert entry.options == expected(tmp_path)


def test_features_give_the_same(tmp_path):
    written = {key: value for key, (_, value) in ALL.items()}
    images = {"name": "north", "pre": ["a.tif"], "post": "b|c.tif", "date": None}
    (entry,) = from_features(tmp_path, images | written)
    assert entry.options == expected(tmp_path)
    assert (entry.name, entry.date) == ("north", None)
    assert entry.post == (str(tmp_path / "b"), str(tmp_path / "c.tif"))


def test_toml_gives_the_same_and_has_defaults(tmp_path):
    written = [f"{key} = {json.dumps(value)}" for key, (_, value) in ALL.items()]
    first = '[[scene]]\npre = "a.tif"\npost = ["b|c.tif"]\ntta = "none"\ndate = 2026-02-07\n'
    second = '[[scene]]\npre = "a.tif"\npost = "d.tif"\ndate = 2026-02-07T03:00:00+02:00\n'
    entries = from_toml(tmp_path, "\n".join(["[defaults]", *written, first, second]))
    assert entries[0].options == expected(tmp_path) | {"tta": "none"}
    assert entries[1].options == expected(tmp_path)
    assert entries[0].post == (str(tmp_path / "b|c.tif"),)  # of a list nothing is split
    assert [entry.date for entry in entries] == ["2026-02-07", "2026-02-07T01:00:00Z"]


def test_columns_may_be_spelt_as_on_the_command_line(tmp_path):
    (entry,) = from_csv(tmp_path, "Pre, Post ,min-area\na.tif,b.tif,5\n")
    assert entry.options == {"min_area": 5.0}


def test_empty_cells_and_lines_say_nothing(tmp_path):
    (entry,) = from_csv(tmp_path, "name,pre,post,tile,date\n ,a.tif,b.tif,,\n\n,,,,\n")
    assert (entry.name, entry.date, entry.options) == (None, None, {})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("/far/a.tif", "/far/a.tif"),
        ("tiles/*.tif", "{folder}/tiles/*.tif"),
        ("@list.txt", "@{folder}/list.txt"),
        ("@/far/list.txt", "@/far/list.txt"),
    ],
)
def test_paths_are_relative_to_the_list(tmp_path, written, read):
    (entry,) = from_csv(tmp_path, f"pre,post\n{written},b.tif\n")
    assert entry.pre == (read.format(folder=tmp_path),)


def test_paths_of_a_relative_list_are_absolute(tmp_path, monkeypatch):
    from_csv(tmp_path, "pre,post\na.tif,b.tif\n")
    monkeypatch.chdir(tmp_path)
    assert read_csv(Path("list.csv"))[0].pre == (str(tmp_path / "a.tif"),)


def test_the_name_of_a_bundled_model_is_no_path(tmp_path):
    (entry,) = from_csv(tmp_path, "pre,post,model\na.tif,b.tif,fast\n")
    assert entry.options == {"model": "fast"}


def test_urls_are_let_through_when_asked(tmp_path):
    text = "pre,post\nhttps://example.org/a.tif,b.tif\n"
    with pytest.raises(ManifestError, match=r"line 2: https.*is remote.*--allow-remote"):
        from_csv(tmp_path, text)
    assert from_csv(tmp_path, text, allow_remote=True)[0].pre == ("https://example.org/a.tif",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pre,pst\na,b\n", "list.csv: unknown 'pst'; did you mean 'post'?"),
        ("pre,post,zzz\na,b,c\n", "unknown 'zzz'; known are name, pre, post, date, model"),
        ("pre,name\na,b\n", "no 'post' in it"),
        ("pre,post,Pre\na,b,c\n", "'pre' twice"),
        ("pre,post\na.tif\n", "line 2: 1 cell under 2 columns"),
        ("pre,post\na.tif,b.tif,c.tif\n", "line 2: 3 cells under 2 columns.*separated by |"),
        ("pre,post\na.tif,\n", "line 2: post is empty"),
        ("pre,post\na.tif, | \n", "line 2: post is '|'; give the path of an image"),
        ('pre,post\n"a.tif,b.tif\n', "not a CSV"),
        ("pre,post,tile\na,b,0\n", "line 2: tile is '0'; give a whole number, 1 or more"),
        ("pre,post,tile\na,b,1.5\n", "whole number"),
        ("pre,post,tile\na,b,inf\n", "give a number"),
        ("pre,post,min_area\na,b,-1\n", "not negative"),
        ("pre,post,simplify\na,b,nan\n", "give a number"),
        ("pre,post,tta\na,b,flip\n", "tta is 'flip'; give none, flips or enlarged"),
        ("pre,post,vote\na,b,all\n", "give probabilities or pixels"),
        ('pre,post,bands\na,b,"1,x"\n', "give a number"),
        ('pre,post,bands\na,b,","\n', "counted from 1"),
        ('pre,post,scale\na,b,"9,1"\n', "MIN below MAX"),
        ("pre,post,date\na,b,07.02.2026\n", "date is '07.02.2026'; write 2026-02-06"),
        ("pre,post,aoi\na,b,http://x/y.gpkg\n", "file on this machine"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(ManifestError) as caught:
        from_csv(tmp_path, text)
    assert re.search(message.replace("?", r"\?").replace("|", r"\|"), str(caught.value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scenes = 1", "unknown 'scenes'; did you mean 'scene'"),
        ("scene = 1", r"\[\[scene\]\]"),
        ("scene = [1]", r"\[\[scene\]\] 1: says nothing of a scene"),
        ("[defaults]\npre = 'a'", r"\[defaults\]: unknown 'pre'"),
        ("[defaults]\ntlie = 5", "did you mean 'tile'"),
        ("[[scene]]\npre = 'a'", "no 'post' in it"),
        ("[[scene]]\npre = 'a'\npost = 5", "post is 5; give a path"),
        ("[[scene]]\npre = 'a'\npost = []", "give the path of an image"),
        ("[[scene]]\npre = 'a'\npost = 'b'\nname = true", "give a text"),
        ("[[scene]]\npre = 'a'\npost = 'b'\ntile = true", "give a number"),
        ("[[scene]]\npre = 'a'\npost = 'b'\nbands = 3", "separated by commas"),
        ("[[scene]]\npre = 'a'\npost = 'b'\ndate = 3", "write 2026-02-06"),
        ("pre = ", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_toml_that_makes_no_sense_is_refused(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        from_toml(tmp_path, text)


def test_json_that_lists_no_scenes_is_refused(tmp_path):
    with pytest.raises(ManifestError, match="feature 1: says nothing"):
        from_features(tmp_path, None)
    with pytest.raises(ManifestError, match="feature 2: no 'post'"):
        from_features(tmp_path, {"pre": "a", "post": "b"}, {"pre": "a"})
    for document in ({"type": "Topology"}, {"type": "FeatureCollection", "features": 3}):
        with pytest.raises(ManifestError, match="no GeoJSON FeatureCollection"):
            read_features(tmp_path / "x.json", document)


def test_long_values_are_cut_in_messages(tmp_path):
    with pytest.raises(ManifestError) as caught:
        from_csv(tmp_path, f"pre,post,tile\na,b,{'x' * 5000}\n")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_a_list_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "list.csv").write_bytes(b"pre,post\n\xff\xfe,b\n")
    with pytest.raises(ManifestError, match="UTF-8"):
        read_csv(tmp_path / "list.csv")
