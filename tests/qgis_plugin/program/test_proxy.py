from urllib.parse import urlsplit

import pytest
from geodamage_qgis.program.proxy import proxy_variables, without_logins


def test_no_proxy_is_no_variable():
    assert proxy_variables(None, "host", 8080) == {}
    assert proxy_variables("http", "", 8080) == {}


def test_a_proxy_is_said_in_the_variables_that_pip_reads():
    given = proxy_variables(
        "http", "proxy.example", 3128, exclude=["https://intra.example/wms", "localhost/", ""]
    )
    assert given["HTTPS_PROXY"] == given["HTTP_PROXY"] == "http://proxy.example:3128"
    assert given["https_proxy"] == given["HTTPS_PROXY"]
    assert given["NO_PROXY"] == "intra.example,localhost"


def test_a_login_survives_its_odd_letters():
    given = proxy_variables("http", "proxy.example", 0, login=("üser", "p@ss:w/rd"))
    parts = urlsplit(given["HTTPS_PROXY"])
    assert (parts.hostname, parts.port) == ("proxy.example", None)
    assert parts.password == "p%40ss%3Aw%2Frd"
    assert "NO_PROXY" not in given


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Looking in https://me:secret@example.org/simple",
            "Looking in https://***@example.org/simple",
        ),
        ("socks5h://me@host:1", "socks5h://***@host:1"),
        ("geodamage @ file:///a/b@c", "geodamage @ file:///a/b@c"),
        ("mail me@example.org", "mail me@example.org"),
    ],
)
def test_what_is_shown_has_no_login(text, shown):
    assert without_logins(text) == shown
