"""The pages of an index among attackers, accidents, and visitors who are slow or gone."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import as_file, browser, form_of, key_of, send, wait_until_added

from sklearn_cmac.photos import digest_source
from sklearn_cmac.search import RetrievalIndex
from sklearn_cmac.store import FullDiskError

pytest.importorskip("starlette", reason="starlette is not installed: sklearn-cmac[serve]")
pytest.importorskip("multipart", reason="python-multipart is not installed: sklearn-cmac[serve]")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: sklearn-cmac[serve]")

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from sklearn_cmac.cli import _serve as command
from sklearn_cmac.serve import _safety as safety
from sklearn_cmac.serve import _uploads as uploads
from sklearn_cmac.serve import make_app
from sklearn_cmac.serve._connections import PromptProtocol
from sklearn_cmac.serve._lent import LentPhotos

pytestmark = pytest.mark.filterwarnings("ignore:whitening")

BODY = b'--B\r\nContent-Disposition: form-data; name="form"\r\n\r\nx\r\n--B--\r\n'


@pytest.fixture(scope="module")
def app(served):
    return make_app(served / "photos.cmac", read_only=True)


@pytest.fixture(scope="module")
def client(app):
    with browser(app) as client:
        yield client


@pytest.fixture
def place(served, tmp_path):
    """A copy of photos and index, to be changed."""
    shutil.copytree(served / "photos", tmp_path / "photos")
    shutil.copytree(served / "photos.cmac", tmp_path / "photos.cmac")
    return tmp_path


@pytest.fixture
def changing(place):
    with browser(make_app(place / "photos.cmac")) as client:
        yield client


async def ask(app, receive, path="/photos", method="POST", query=b"", server=None, **headers):
    """The status and the content that an application answers, as a server would ask it."""
    given = {"host": "127.0.0.1", "content-type": "multipart/form-data; boundary=B", **headers}
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query, "root_path": "",
        "server": server or ("127.0.0.1", 80), "client": ("127.0.0.1", 9),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    sent = []

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


async def nothing():
    """Of who has sent all."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def gone():
    return {"type": "http.disconnect"}


# -- who may ask ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example@localhost", "localhost@evil.example", "localhost/evil.example", "localhost:abc",
     "localhost#@evil.example", "localhost?", "localhost:", "localhost, evil.example", "[::1",
     "localhost\\@evil.example", "::1", "127.1", "localhost."],
)  # fmt: skip
def test_a_host_is_a_name_and_a_port_and_nothing_else(client, host):
    """What is said there is part of the addresses that answers lead to."""
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    ("came_to", "host", "status"),
    [("192.168.0.7", "192.168.0.7:8642", 200), ("192.168.0.7", "192.168.0.8", 421),
     ("::ffff:192.168.0.7", "192.168.0.7", 200), ("fd00::7", "[fd00:0::7]:8642", 200),
     ("photos.example", "photos.example", 421), ("/run/socket", "", 421)],
)  # fmt: skip
def test_whoever_listens_at_all_addresses_is_called_by_that_which_was_asked(came_to, host, status):
    guard = safety.Guard(PlainTextResponse("here"), safety.LOOPBACK)
    asked = partial(ask, guard, nothing, "/", "GET", server=(came_to, 8642), host=host)
    assert anyio.run(asked)[0] == status


@pytest.mark.parametrize("origin", ["http://[", "http://127.0.0.1@evil.example", "127.0.0.1", ""])
def test_an_origin_that_cannot_be_read_is_of_another_site(client, origin):
    answer = client.post("/photos", headers={"origin": origin})
    assert answer.status_code == 403
    assert form_of(client) not in answer.text


def test_cookies_of_other_programs_hide_no_token(served):
    """Ports of a machine share their cookies, and others write what no standard allows."""
    with browser(make_app(served / "photos.cmac", token="secret", read_only=True)) as client:
        own = client.get("/?token=secret", follow_redirects=False).headers["set-cookie"]
        given = f'prefs={{"a": [1]}}; x[y]=2; {own.partition(";")[0]}'
        client.cookies.clear()
        assert client.get("/", headers={"cookie": given}).status_code == 200


@pytest.mark.parametrize("path", ["/%5Cevil.example/", "/%09/evil.example/", "/%0A/evil.example"])
def test_no_link_for_strangers_leads_to_another_server(served, path):
    """Browsers read \\ as /, and read over tabs and line breaks."""
    with browser(make_app(served / "photos.cmac", token="secret", read_only=True)) as client:
        assert f'href="{path}"' in client.get(path).text
        brought = client.get(f"{path}?token=secret", follow_redirects=False)
        assert brought.headers["location"] == path


def test_programs_are_refused_in_json(served):
    json = {"accept": "application/json"}
    with browser(make_app(served / "photos.cmac", token="secret", read_only=True)) as client:
        for headers, status in (
            ({"host": "evil.example"}, 421),
            ({"sec-fetch-site": "cross-site"}, 403),
            ({}, 401),
        ):
            answer = client.get("/", headers={**json, **headers})
            assert answer.status_code == status
            assert set(answer.json()) == {"title", "reason"}


def test_what_cannot_be_done_at_an_address_says_what_can(client):
    assert "GET" in client.put("/index").headers["allow"]


def test_the_description_says_what_is_needed_and_what_is_refused(client):
    described = client.get("/api").json()["paths"]
    needed = {p["name"]: p["required"] for p in described["/search"]["get"]["parameters"]}
    assert [name for name, is_needed in needed.items() if is_needed] == ["q"]
    for item in described.values():
        for operation in (item[method] for method in ("get", "post") if method in item):
            assert "default" in operation["responses"]
    assert described["/photos"]["post"]["requestBody"]["required"]
    assert client.get("/?order=backwards").status_code == 400


# -- who is slow, or gone -------------------------------------------------------------------------


def test_who_sends_slowly_holds_up_nobody(app):
    async def visit():
        async def begins_only():
            began.append(1)
            await anyio.sleep_forever()

        began = []
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(ask, app, begins_only)
            while len(began) < 4:
                await anyio.sleep(0.01)
            with anyio.move_on_after(30):
                found.append(await ask(app, sends))
            tasks.cancel_scope.cancel()

    async def sends():
        return {"type": "http.request", "body": BODY, "more_body": False}

    found = []
    anyio.run(visit)
    assert found[0][0] == 403  # the form is of no page, so it was read


def test_who_sends_nothing_more_is_let_go(app, monkeypatch):
    monkeypatch.setattr(uploads, "_PATIENCE", 0.05)
    assert anyio.run(ask, app, anyio.sleep_forever)[0] == 408


def test_who_goes_while_sending_is_no_error_of_the_server(app, recwarn):
    assert anyio.run(ask, app, gone)[0] == 400
    assert not [w for w in recwarn if "ClientDisconnect" in str(w.message)]


def test_nothing_is_searched_for_who_has_gone(app, served, monkeypatch):
    searched = []
    monkeypatch.setattr(
        "sklearn_cmac.serve._app.search_with_marks", lambda *_, **__: searched.append(1) or []
    )
    key = key_of(served / "photos/distractor-00.png")
    search = partial(ask, app, path="/search", method="GET", query=f"q={key}".encode())
    anyio.run(search, gone)
    assert not searched
    anyio.run(partial(search, nothing))
    assert searched


def test_what_all_send_together_has_a_limit():
    room = uploads.Room(100)
    with room.taking() as take, room.taking() as take_too:
        take(60)
        take_too(40)
        with pytest.raises(HTTPException) as refused:
            take(1)
        assert refused.value.status_code == 503
    assert room.left == 100


def test_a_long_answer_is_given_up_at_the_end(app):
    async def endless(scope, receive, send):
        await anyio.sleep_forever()

    async def stop():
        import asyncio

        task = asyncio.ensure_future(ask(safety.Guard(endless, safety.LOOPBACK), nothing))
        await asyncio.sleep(0.01)
        task.cancel("timeout graceful shutdown exceeded")
        return await task

    assert anyio.run(stop)[0] == 503


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_who_connects_and_asks_nothing_is_let_go_and_a_hangup_ends_the_server(monkeypatch):
    monkeypatch.setattr(PromptProtocol, "patience", 0.2)
    heard, said = [], []
    before = signal.signal(signal.SIGHUP, lambda number, _: heard.append(number))

    def visit(address):
        try:
            for words in (b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2):
                with socket.create_connection(address, timeout=20) as idle:
                    idle.sendall(words)
                    said.append(b"".join(iter(lambda: idle.recv(9999), b"")).count(b"200 OK"))
        finally:
            os.kill(os.getpid(), signal.SIGHUP)

    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            visitor = threading.Thread(target=visit, args=(listener.getsockname(),))
            visitor.start()
            command._run(PlainTextResponse("here"), listener)
            visitor.join()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert said == [0, 0, 2]
    assert heard == [signal.SIGHUP]


def test_a_search_that_runs_does_not_hold_up_the_end(served):
    program = """
import sys, threading, time
from sklearn_cmac.cli import _serve, main
def stopped(**_):
    threading.Thread(target=time.sleep, args=(600,)).start()
    raise KeyboardInterrupt
_serve.serve_command.callback = stopped
sys.exit(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, "serve", str(served / "photos.cmac")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 130
    assert "stopped; the index is whole" in ended.stderr


def test_the_end_does_not_wait_for_photos_that_were_sent_last(app):
    library = app.state.library
    library._to_add.put(Path("last.png"))
    library._to_add.put(None)
    adding = threading.Thread(target=library._add_all, daemon=True)
    library._ends, was = True, library._ends
    adding.start()
    adding.join(20)
    library._ends = was
    assert not adding.is_alive()


def test_the_address_that_is_printed_is_one_that_others_can_open(monkeypatch):
    class Towards(socket.socket):
        def connect(self, address):
            pass

        def getsockname(self):
            return "192.168.0.7", 1

    # As of Debian, where a machine calls itself by an address that it alone can reach.
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "127.0.1.1")
    monkeypatch.setattr(socket, "socket", Towards)
    assert command._called("0.0.0.0") == "192.168.0.7"


# -- files that are other than they were ----------------------------------------------------------


def test_no_file_is_shown_that_a_link_was_made_to_lead_to(changing, place, tmp_path, others):
    """Though it has the size and the time of the photo that was there."""
    photo, secret = place / "photos/distractor-00.png", tmp_path / "secret.png"
    key, about = key_of(photo), photo.stat()
    secret.write_bytes(as_file(others.photos[0].source[:50, :50]).ljust(about.st_size, b"\0"))
    os.utime(secret, ns=(about.st_atime_ns, about.st_mtime_ns))
    photo.unlink()
    photo.symlink_to(secret)
    assert photo.stat().st_size == about.st_size
    for size in ("thumbnail", "view"):
        answer = changing.get(f"/photos/{key}/{size}.jpg")
        assert answer.headers["content-type"] == "image/svg+xml"


def test_copied_photos_are_shown_though_their_time_is_another(changing, place):
    photo = place / "photos/distractor-00.png"
    os.utime(photo, (1, 1))
    key = key_of(photo)
    assert changing.get(f"/photos/{key}?format=json").json()["there"]
    assert changing.get(f"/photos/{key}/view.jpg").headers["content-type"] == "image/jpeg"


def test_an_index_that_was_replaced_is_not_read_in_parts_of_both(changing, place):
    key = key_of(place / "photos/distractor-00.png")
    (place / "photos.cmac").rename(place / "before.cmac")
    addresses = ("/", "/index", f"/search?q={key}", f"/photos/{key}")
    for _ in range(2):
        for address in addresses:
            answer = changing.get(address)
            assert answer.status_code == 500
            assert "replaced by another index" in answer.text
        shutil.copytree(place / "before.cmac", place / "photos.cmac", dirs_exist_ok=True)


def test_two_may_take_out_a_photo_at_once(changing, place, monkeypatch):
    library, photo = changing.app.state.library, place / "photos/distractor-00.png"
    write = type(library)._changing

    @contextmanager
    def after_another(self):
        with RetrievalIndex.open(place / "photos.cmac") as index:
            index.remove([str(photo)])
        with write(self) as index:
            yield index

    monkeypatch.setattr(type(library), "_changing", after_another)
    assert send(changing, f"/photos/{key_of(photo)}/remove").url.path == "/"


# -- photos that are sent -------------------------------------------------------------------------


def test_each_photo_that_is_refused_is_told(changing):
    send(changing, "/index/photos", ("one.png", b"not one"), ("two.png", b"nor two"))
    adding = changing.get("/index?format=json").json()["adding"]
    assert [name for name, _ in adding["failed"]] == ["one.png", "two.png"]
    assert (adding["done"], adding["total"]) == (2, 2)


def test_what_is_no_photo_makes_no_lent_photo_go(served, others, monkeypatch):
    monkeypatch.setattr("sklearn_cmac.serve._app.LentPhotos", partial(LentPhotos, most=1))
    with browser(make_app(served / "photos.cmac", read_only=True)) as client:
        place = send(client, "/photos", ("mine.png", as_file(others.photos[0].source))).url.path
        assert send(client, "/photos", ("notes.png", b"no photo")).status_code == 400
        assert client.get(place).status_code == 200


def test_a_photo_that_cannot_be_described_is_kept_nowhere(changing, place):
    """A picture of one pixel is one, and no network finds anything in it."""
    send(changing, "/index/photos", ("dot.png", as_file(np.zeros((1, 1, 3), np.uint8))))
    ((name, reason),) = wait_until_added(changing)["failed"]
    assert name.startswith("dot-")
    assert "1x1" in reason
    assert not list((place / "photos.uploads").iterdir())
    assert changing.get("/index?format=json").json()["info"]["failed"] == 0


def test_files_of_others_in_the_folder_of_uploads_stay(place):
    own = place / "own"
    own.mkdir()
    Image.new("RGB", (1, 1)).save(own / "dot.png")
    shutil.copy(place / "photos/distractor-00.png", own / "mine.png")
    with browser(make_app(place / "photos.cmac", uploads=own)) as client:
        assert len(wait_until_added(client)["failed"]) == 1
        send(client, f"/photos/{key_of(own / 'mine.png')}/remove")
    assert sorted(path.name for path in own.iterdir()) == ["dot.png", "mine.png"]


def test_what_was_half_written_when_the_server_was_killed_is_no_photo(place):
    (place / "photos.uploads").mkdir()
    half = place / "photos.uploads" / "cup-0123456789ab.png.12-34.part"
    half.write_bytes((place / "photos/distractor-00.png").read_bytes())
    with browser(make_app(place / "photos.cmac")) as client:
        assert client.get("/index?format=json").json()["adding"]["total"] == 0


def test_a_full_disk_is_told(changing, monkeypatch, others):
    def full(folder, upload):
        raise FullDiskError(28, "no space left", str(folder))

    monkeypatch.setattr("sklearn_cmac.serve._app.keep", full)
    content = as_file(others.photos[0].source)
    send(changing, "/photos", ("mine.png", content))
    with pytest.warns(UserWarning, match="FullDiskError"):
        answer = send(changing, f"/photos/{digest_source(content)}/add")
    assert answer.status_code == 507
    assert "no room" in answer.text
    send(changing, "/index/photos", ("mine.png", content))
    adding = changing.get("/index?format=json").json()["adding"]
    assert adding["failed"][0][0] == "mine.png"
    assert adding["done"] == adding["total"]
