"""Catalogues written in code; the remote ones come from a server on this machine."""

import builtins
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import shapely

from geodamage.batch.manifest import plan_scenes, read_manifest
from geodamage.batch.stac import EventTime
from geodamage.errors import ManifestError, MissingExtraError, OptionError
from geodamage.grid import GsdRange
from geodamage.scene.outlines import outline_of
from tests.batch.tiles import names, tile
from tests.catalogues import COG, make_catalogue, make_item, save

EVENT = "2026-02-06"


#: Name, date, metres east of `CORNER`; the image lies beside the item.
IMAGES = (
    ("long_before", "2020-05-01T10:00:00Z", 0),
    ("before_west", "2025-12-01T10:00:00Z", 0),
    ("before_east", "2025-12-02T10:00:00Z", 32),
    ("on_the_day", "2026-02-06T11:00:00Z", 0),
    ("after_west", "2026-02-07T10:00:00Z", 0),
    ("after_both", "2026-02-08T10:00:00+02:00", 16),
    ("after_far", "2026-02-08T10:00:00Z", 5000),
)


@pytest.fixture
def items(tmp_path) -> dict[str, dict]:
    """Write images, and return items of them by name."""
    found = {}
    for name, when, east in IMAGES:
        path = tile(tmp_path / "images" / f"{name}.tif", east)
        found[name] = make_item(name, when, outline_of(str(path)), visual=f"./{name}.tif")
    return found


@pytest.fixture
def catalogue(tmp_path, items) -> Path:
    """Write a catalogue that holds a collection that holds the items."""
    for name, item in items.items():
        save(tmp_path / "images" / f"{name}.json", item)
    links = [("item", f"./{name}.json") for name in items]
    up = ("root", "../catalog.json"), ("parent", "../catalog.json")
    save(tmp_path / "images" / "collection.json", make_catalogue("Collection", "c", *links, *up))
    child = ("child", "./images/collection.json")
    return save(tmp_path / "catalog.json", make_catalogue("Catalog", "root", child))


def collection_of(folder: Path, *items: dict) -> Path:
    """Write an item collection beside the images."""
    document = {"type": "FeatureCollection", "features": list(items)}
    return save(folder / "images" / "items.json", document)


EXPECTED = {"after_west": ["before_west.tif"], "after_both": ["before_east.tif", "before_west.tif"]}


def pairs(manifest) -> dict[str, list[str]]:
    return {scene.name: names(scene.pre) for scene in manifest}


# Local catalogues


@pytest.mark.slow
@pytest.mark.parametrize("given", ["catalog.json", "images/collection.json", "", "images"])
def test_a_catalogue_gives_a_scene_for_each_image_after_the_event(tmp_path, catalogue, given):
    manifest = read_manifest(tmp_path / given, event_date=EVENT)
    assert pairs(manifest) == EXPECTED
    assert [scene.date for scene in manifest] == ["2026-02-07T10:00:00Z", "2026-02-08T08:00:00Z"]
    assert all(scene.options == {} for scene in manifest)
    assert sorted(note.partition(":")[0] for note in manifest.notes) == ["after_far", "on_the_day"]
    assert all(plan.is_usable for plan in plan_scenes(manifest, gsd=GsdRange(0.5, 0.3, 1.0)))


@pytest.mark.slow
def test_an_item_collection_is_read_too(tmp_path, items):
    path = collection_of(tmp_path, *items.values())
    assert pairs(read_manifest(path, event_date=EVENT)) == EXPECTED


@pytest.mark.slow
def test_the_nearest_image_before_is_taken_and_older_ones_where_it_shows_nothing(tmp_path, items):
    del items["before_west"]
    path = collection_of(tmp_path, *items.values())
    assert pairs(read_manifest(path, event_date=EVENT)) == {
        "after_west": ["long_before.tif"],
        "after_both": ["before_east.tif", "long_before.tif"],
    }


@pytest.mark.parametrize(
    ("when", "side"), [("2026-02-06T10:59Z", "after"), ("2026-02-06T12:00+00:30", "before")]
)
def test_with_its_hour_the_day_of_the_event_is_sorted(tmp_path, items, when, side):
    found = pairs(read_manifest(collection_of(tmp_path, *items.values()), event_date=when))
    if side == "after":
        assert found == EXPECTED | {"on_the_day": ["before_west.tif"]}
    else:
        assert found["after_west"] == ["on_the_day.tif"]


def test_a_span_of_time_across_the_event_is_left_out(tmp_path, items):
    items["before_west"]["properties"] = {
        "datetime": None,
        "start_datetime": "2026-01-01T00:00:00Z",
        "end_datetime": "2026-03-01T00:00:00Z",
    }
    items["after_both"]["properties"] = {
        "datetime": None,
        "start_datetime": "2026-02-07T00:00:00Z",
        "end_datetime": "2026-02-08T00:00:00Z",
    }
    manifest = read_manifest(collection_of(tmp_path, *items.values()), event_date=EVENT)
    assert pairs(manifest)["after_west"] == ["long_before.tif"]
    assert {scene.name: scene.date for scene in manifest}["after_both"] == "2026-02-07T00:00:00Z"
    assert any("before_west: left out, taken at the time" in note for note in manifest.notes)


def test_catalogues_that_lead_in_a_circle_end(tmp_path, items):
    one = make_catalogue("Catalog", "a", ("child", "b.json"), ("child", "../images/a.json"))
    two = make_catalogue("Catalog", "b", ("child", "a.json"), ("item", "../images/items.json"))
    collection_of(tmp_path, *items.values())
    save(tmp_path / "images" / "b.json", two)
    path = save(tmp_path / "images" / "a.json", one)
    assert pairs(read_manifest(path, event_date=EVENT)) == EXPECTED


def test_items_of_one_name_in_two_collections_are_told_apart(tmp_path, items):
    other = items["after_west"] | {"collection": "second"}
    other["assets"] = {"visual": {"href": "after_both.tif", "type": COG}}
    manifest = read_manifest(
        collection_of(tmp_path, *items.values(), other, other), event_date=EVENT
    )
    first, second, _ = sorted(pairs(manifest), key=lambda name: ("both" in name, len(name)))
    assert first == "after_west"
    assert second.startswith("after_west-")


# Assets


@pytest.mark.parametrize(
    ("assets", "asset", "chosen"),
    [
        ({"B1": "1.tif", "data": "2.tif", "visual": "3.tif"}, None, "3.tif"),
        ({"B1": "1.tif", "data": "2.tif"}, None, "2.tif"),
        ({"B1": "1.tif", "data": "2.tif"}, "B1", "1.tif"),
        ({"B1": "1.tif", "x": {"href": "2.tif", "type": COG, "roles": ["visual"]}}, None, "2.tif"),
        ({"B1": "1.tif", "B2": "2.tif"}, None, "1.tif"),
        ({"meta": {"href": "m.xml"}, "plain": {"href": "2.TIFF"}}, None, "2.TIFF"),
        ({"thumbnail": {"href": "t.tif", "roles": ["thumbnail"]}, "B": "2.tif"}, None, "2.tif"),
        ({"visual": {"href": "v.png", "type": "image/png"}, "B": "2.tif"}, None, "2.tif"),
        ({"visual": {"href": "v.jp2"}}, None, None),
        ({"visual": "1.tif"}, "analytic", None),
    ],
)
def test_the_image_is_chosen_among_the_assets(tmp_path, items, assets, asset, chosen):
    place = shapely.geometry.shape(items["after_west"]["geometry"])
    after = make_item("after_west", "2026-02-07T10:00:00Z", place, **assets)
    spare = make_item("spare", "2026-02-09T10:00:00Z", place, **{asset or "visual": "x.tif"})
    before = make_item("b", "2025-02-07T10:00:00Z", place, **{asset or "visual": "b.tif"})
    tile(tmp_path / "images" / "b.tif", 0)
    path = collection_of(tmp_path, before, after, spare)
    manifest = read_manifest(path, event_date=EVENT, asset=asset)
    posts = {scene.name: names(scene.post) for scene in manifest}
    assert posts.get("after_west") == (None if chosen is None else [chosen])
    assert ("after_west: left out, it has no" in " ".join(manifest.notes)) is (chosen is None)


# What is not read


def test_a_catalogue_needs_the_date_of_the_event(catalogue):
    with pytest.raises(OptionError, match="--event-date"):
        read_manifest(catalogue)
    with pytest.raises(OptionError, match="--event-date soon: not a date"):
        read_manifest(catalogue, event_date="soon")
    for when, text in (("before", "2020-01-01"), ("after", "2027-01-01")):
        with pytest.raises(ManifestError, match=f"no image {when} {text}"):
            read_manifest(catalogue, event_date=text)


def test_a_day_is_a_day_long_and_an_hour_an_instant():
    day, hour = EventTime.parse("2026-02-06"), EventTime.parse("2026-02-06T03:17+03:00")
    assert (day.end - day.start).total_seconds() == 86400
    assert hour.start == hour.end
    assert hour.start.isoformat() == "2026-02-06T00:17:00+00:00"


@pytest.mark.parametrize(
    "href",
    ["../../secret.tif", "/etc/passwd", "file:///etc/passwd", "file:/etc/passwd", "link.tif",
     "/vsizip/x.zip/a.tif"],
)  # fmt: skip
def test_a_catalogue_names_no_file_outside_of_its_folder(tmp_path, items, href):
    (tmp_path / "images" / "link.tif").symlink_to("/etc/passwd")
    items["after_west"]["assets"]["visual"]["href"] = href
    manifest = read_manifest(collection_of(tmp_path, *items.values()), event_date=EVENT)
    assert list(pairs(manifest)) == ["after_both"]
    assert any("outside of its folder" in note for note in manifest.notes)
    document = make_catalogue("Catalog", "c", ("item", href))
    with pytest.raises(ManifestError, match="outside of its folder"):
        read_manifest(save(tmp_path / "images" / "c.json", document), event_date=EVENT)


def test_a_file_within_the_folder_may_be_named_by_its_address(tmp_path, items):
    path = tmp_path / "images" / "after_west.tif"
    items["after_west"]["assets"]["visual"]["href"] = path.as_uri()
    manifest = read_manifest(collection_of(tmp_path, *items.values()), event_date=EVENT)
    assert manifest[0].post == (str(path),)


@pytest.mark.parametrize(
    "href", ["http://127.0.0.1:9/a.tif", "https://x.org/a.tif", "s3://b/a.tif", "HTTP://x/a.tif"]
)
def test_nothing_remote_is_read_unless_asked(tmp_path, items, href, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", partial(pytest.fail, "connected"))
    items["after_west"]["assets"]["visual"]["href"] = href
    path = collection_of(tmp_path, *items.values())
    with pytest.raises(ManifestError, match="--allow-remote"):
        read_manifest(path, event_date=EVENT)
    document = make_catalogue("Catalog", "c", ("child", href))
    with pytest.raises(ManifestError, match="--allow-remote only"):
        read_manifest(save(tmp_path / "images" / "c.json", document), event_date=EVENT)
    with pytest.raises(ManifestError, match="--allow-remote only"):
        read_manifest(href, event_date=EVENT)
    manifest = read_manifest(path, event_date=EVENT, allow_remote=True)
    assert manifest[0].post == (href,)


@pytest.mark.parametrize("href", ["ftp://x/a.tif", "abfs://b/a.tif", "/vsicurl/http://x/a.tif"])
def test_other_addresses_are_refused_even_then(tmp_path, items, href):
    items["after_west"]["assets"]["visual"]["href"] = href
    path = collection_of(tmp_path, *items.values())
    with pytest.raises(ManifestError, match="http, https, s3, gs and az are read"):
        read_manifest(path, event_date=EVENT, allow_remote=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"properties": 3}, "not a STAC item"),
        ({"assets": [1]}, "not a STAC item"),
        ({"assets": {"visual": {"href": "a\0b.tif", "type": COG}}}, "no path"),
        ({"assets": {"visual": {"href": "http://[x/a.tif", "type": COG}}}, "no address"),
        ({"assets": {"thing": {"href": "a.tif", "type": 7}}}, "no text as its type"),
        ({"assets": {"thing": {"href": "a.tif", "roles": 7}}}, "no roles in a list"),
    ],
)
def test_broken_items_are_left_out_with_a_note_of_one_line(tmp_path, items, change, message):
    items["after_west"] |= change
    manifest = read_manifest(collection_of(tmp_path, *items.values()), event_date=EVENT)
    assert list(pairs(manifest)) == ["after_both"]
    (note,) = [note for note in manifest.notes if message in note]
    assert "left out" in note
    assert "\n" not in note


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"geometry": None, "bbox": None}, "where it lies"),
        ({"geometry": {"type": "Polygon", "coordinates": [[1]]}}, "where it lies"),
        ({"geometry": {"type": "Point", "coordinates": [1, 2]}}, "where it lies"),
        ({"geometry": None, "bbox": [1, 2]}, "where it lies"),
        ({"geometry": None, "bbox": [1, 2, 3, 94]}, "where it lies"),
        ({"geometry": None, "bbox": [1, 2, 1e9, 4]}, "where it lies"),
    ],
)
def test_an_item_that_lies_nowhere_is_left_out_with_a_note(tmp_path, items, change, note):
    items["after_west"] |= change
    manifest = read_manifest(collection_of(tmp_path, *items.values()), event_date=EVENT)
    assert list(pairs(manifest)) == ["after_both"]
    assert f"after_west: left out, it does not say {note}" in manifest.notes


def test_an_item_without_a_geometry_has_a_box(tmp_path, items):
    for item in items.values():
        item["geometry"] = None
    manifest = read_manifest(collection_of(tmp_path, *items.values()), event_date=EVENT)
    assert pairs(manifest).keys() == EXPECTED.keys()


@pytest.mark.parametrize("links", [3, [3], [{"rel": "item"}], [{"rel": "item", "href": 3}]])
def test_broken_links_are_refused(tmp_path, links):
    path = save(tmp_path / "c.json", make_catalogue("Catalog", "c", links=links))
    with pytest.raises(ManifestError, match=r"fix the catalogue"):
        read_manifest(path, event_date=EVENT)


def test_without_pystac_its_extra_is_named(catalogue, monkeypatch):
    usual = builtins.__import__

    def without(name, *rest):
        if name.startswith("pystac"):
            raise ImportError(name)
        return usual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[stac\]"'):
        read_manifest(catalogue, event_date=EVENT)


# Remote catalogues


class Server:
    """Answers for documents by path; `asked` says what it was asked."""

    def __init__(self) -> None:
        self.documents: dict[str, object] = {}
        self.asked: list[tuple[str, object]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(None)

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                self.answer(json.loads(self.rfile.read(size)))

            def answer(self, body: object) -> None:
                server.asked.append((self.path, body))
                if self.path not in server.documents:
                    self.send_error(404)
                    return
                text = json.dumps(server.documents[self.path]).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.mark.slow
def test_a_remote_catalogue_is_read_with_what_hangs_on_it(server, items):
    links = [("item", f"items/{name}.json") for name in items]
    server.documents["/c/catalog.json"] = make_catalogue("Catalog", "c", *links)
    server.documents |= {f"/c/items/{name}.json": item for name, item in items.items()}
    manifest = read_manifest(
        f"{server.address}/c/catalog.json", event_date=EVENT, allow_remote=True
    )
    assert pairs(manifest) == EXPECTED
    assert manifest[0].post == (f"{server.address}/c/items/after_west.tif",)


def test_a_search_is_read_page_by_page(server, items):
    first, second, *rest = items.values()

    def page(*found: dict, **link: object) -> dict:
        links = [{"rel": "self", "href": "/search"}] + ([{"rel": "next"} | link] if link else [])
        return {"type": "FeatureCollection", "features": list(found), "links": links}

    body = {"token": "3", "collections": ["c"]}
    server.documents = {
        "/search?limit=1": page(first, href="/search?limit=1&page=2"),
        "/search?limit=1&page=2": page(second, href="/more", method="POST", body=body),
        "/more": page(*rest),
    }
    address = f"{server.address}/search?limit=1"
    assert pairs(read_manifest(address, event_date=EVENT, allow_remote=True)) == EXPECTED
    assert [asked for _, asked in server.asked] == [None, None, body]


def test_the_items_of_a_remote_collection_are_read(server, items):
    server.documents = {
        "/collections/c": make_catalogue("Collection", "c", ("items", "/collections/c/items")),
        "/collections/c/items": {"type": "FeatureCollection", "features": list(items.values())},
    }
    address = f"{server.address}/collections/c"
    assert pairs(read_manifest(address, event_date=EVENT, allow_remote=True)) == EXPECTED


def test_a_remote_catalogue_reads_no_file_of_this_machine(server, items, tmp_path):
    for href in ("file:///etc/passwd", "file:/etc/passwd"):
        server.documents["/c"] = make_catalogue("Catalog", "c", ("item", href))
        with pytest.raises(ManifestError, match="names a file on this machine"):
            read_manifest(f"{server.address}/c", event_date=EVENT, allow_remote=True)
    server.documents["/c"] = make_catalogue("Catalog", "c", ("item", "/etc/passwd"))
    with pytest.raises(ManifestError, match="out of reach"):
        read_manifest(f"{server.address}/c", event_date=EVENT, allow_remote=True)
    assert server.asked[-1] == ("/etc/passwd", None)  # the server's, not ours


def test_a_whole_archive_is_refused(server):
    server.documents["/"] = make_catalogue("Catalog", "c", conformsTo=["x"])
    with pytest.raises(ManifestError, match=r"give the address of a search"):
        read_manifest(f"{server.address}/", event_date=EVENT, allow_remote=True)


def test_a_server_that_has_no_such_document_is_an_error_in_one_line(server):
    with pytest.raises(ManifestError, match="out of reach") as caught:
        read_manifest(f"{server.address}/none", event_date=EVENT, allow_remote=True)
    assert "\n" not in str(caught.value)


def test_catalogues_without_end_end(server, monkeypatch):
    monkeypatch.setattr("geodamage.batch.stac.MOST_DOCUMENTS", 5)
    for number in range(10):
        link = ("child", f"/{number + 1}")
        server.documents[f"/{number}"] = make_catalogue("Catalog", "c", link)
    with pytest.raises(ManifestError, match="over 5 documents"):
        read_manifest(f"{server.address}/0", event_date=EVENT, allow_remote=True)
    assert len(server.asked) == 5


@pytest.mark.parametrize(("key", "value"), [("id", ["a"]), ("collection", {}), ("type", [[]])])
def test_an_item_whose_names_are_none_is_left_out_or_refused(tmp_path, key, value):
    item = make_item("a", "2026-01-01T00:00:00Z", shapely.box(0, 0, 1, 1), visual="a.tif")
    path = save(
        tmp_path / "items.json", {"type": "FeatureCollection", "features": [item | {key: value}]}
    )
    with pytest.raises(ManifestError):
        read_manifest(str(path), event_date=EVENT)
