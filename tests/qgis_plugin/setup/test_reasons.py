import pytest
from geodamage_qgis.setup.reasons import reason


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement numpy>=1.26 (from "
            "geodamage) (from versions: none)\nERROR: No matching distribution found for numpy",
            "numpy was not found where packages are looked for",
        ),
        ("  ╰─▶ Because numpy was not found in the package registry", "numpy was not found"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying after NewConnectionError('getaddrinfo failed')\n"
            "ERROR: No matching distribution found for numpy",
            "check the network and the proxy",
        ),
        ("ProxyError('Cannot connect to proxy.'", "look at the proxy"),
        ("ERROR: THESE PACKAGES DO NOT MATCH\nExpected sha256 a\nHashes do not match", "choose it"),
        ("fine\nERROR: something odd\nfine", "something odd"),
        ("error: No interpreter found for Python >=3.11", "No interpreter found"),
    ],
)
def test_the_reason_is_one_line_that_says_what_to_do(log, text):
    assert text in reason(log)


def test_without_a_word_there_is_no_reason():
    assert reason("Collecting numpy\nDone") is None
