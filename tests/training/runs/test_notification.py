import json
import subprocess
import sys

import pytest

from geodamage.errors import MissingExtraError, OptionError
from training.runs.notification import NotificationError, Notifier

SERVER = """
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(500 if "refuse" in self.path else 200)
        self.end_headers()
        print(json.dumps([self.path, json.loads(text)]), flush=True)

    def log_message(self, *words):
        pass

server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture
def server():
    """Return a process that prints its port, then every message it gets."""
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def notifier(text):
    return Notifier.from_environment({"GEODAMAGE_NOTIFY": text})


@pytest.mark.slow
def test_a_webhook_gets_title_and_text(server):
    port = server.stdout.readline().strip()
    notifier(f"json://127.0.0.1:{port}/hook").send("run a finished", "score 0.5")
    path, message = json.loads(server.stdout.readline())
    assert path == "/hook"
    assert (message["title"], message["message"]) == ("run a finished", "score 0.5")


@pytest.mark.slow
@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_each_address_is_told_though_another_fails(server, capfd, between):
    port = server.stdout.readline().strip()
    addresses = [f"json://who:geheim@127.0.0.1:{port}/{path}" for path in ("refuse", "take")]
    with pytest.raises(NotificationError, match="address 1 of 2 could not be notified") as caught:
        notifier(between.join(addresses)).send("a", "b")
    assert [json.loads(server.stdout.readline())[0] for _ in addresses] == ["/refuse", "/take"]
    assert "geheim" not in f"{caught.value}{capfd.readouterr()}"


@pytest.mark.slow
def test_a_comma_may_be_part_of_an_address():
    assert len(notifier("mailto://a:b@example.org?to=x@example.org,y@example.org")._services) == 1


def test_without_addresses_nothing_is_sent():
    for environment in ({}, {"GEODAMAGE_NOTIFY": " , "}):
        Notifier.from_environment(environment).send("a", "b")


@pytest.mark.slow
def test_a_wrong_address_is_named_by_its_number_alone(capfd):
    with pytest.raises(OptionError, match="address 2 of 2") as caught:
        notifier("json://localhost geheim://token")
    assert "geheim" not in f"{caught.value}{capfd.readouterr()}"


def test_a_missing_package_is_told_at_the_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingExtraError, match=r'apprise.*"\.\[train\]"'):
        notifier("json://localhost")
    notifier("")
