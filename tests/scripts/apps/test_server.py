"""The app over HTTP: its endpoints, what it serves and what it refuses."""

from __future__ import annotations

import base64
import http.client
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from tests.app_runs import colours_of, facade_map
from tests.class_run import NAMES
from tests.conftest import SIZE
from tests.scripts.apps.conftest import Served, free_port

REPO = Path(__file__).resolve().parents[3]


def fetch(url: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    """Status and body of a request, whatever the status."""
    request = urllib.request.Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def call(app: Served, endpoint: str, **given: Any) -> Any:
    """What an endpoint answers.

    Raises:
        RuntimeError: with the words of its refusal.
    """
    body = json.dumps(given).encode()
    url = f"{app.address}gradio_api/call/v2/{endpoint}"
    status, answer = fetch(url, body, content_type="application/json")
    assert status == 200, answer
    event = json.loads(answer)["event_id"]
    _, stream = fetch(f"{app.address}gradio_api/call/{endpoint}/{event}")
    kind, _, data = stream.decode().strip().rpartition("data: ")
    if "event: complete" not in kind:
        raise RuntimeError(json.loads(data))
    return json.loads(data)[0]


def png(array: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def opened(url: str) -> np.ndarray:
    head, _, text = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_models(app: Served):
    assert [each["run"] for each in call(app, "models")] == ["facades", "noise", "deep", "zebra", "run"]


def test_generate(app: Served):
    answer = call(app, "generate", run="noise", label_map=png(colours_of(facade_map())), seed=4, count=2)
    first, second = map(opened, answer["images"])
    assert first.shape == (SIZE, SIZE, 3) and not np.array_equal(first, second)
    assert np.array_equal(opened(answer["label_map"]), colours_of(facade_map()))
    assert 0 < answer["network_ms"] <= answer["server_ms"]


def test_translate(app: Served):
    answer = call(app, "translate", run="zebra", picture=png(colours_of(facade_map(40))), direction="BtoA")
    assert opened(answer["images"][0]).shape == (40, 40, 3)
    assert opened(answer["maps"]["heat_fake_A"]).shape == (40, 40, 3)


def test_translate_16_bit(app: Served):
    ramp = np.linspace(0, 65535, SIZE * SIZE).reshape(SIZE, SIZE).astype(np.uint16)
    image = opened(call(app, "translate", run="deep", picture=png(ramp))["images"][0])
    assert image.dtype == np.uint16 and len(np.unique(image)) > 300


def test_classes(app: Served):
    answer = call(app, "classes", run="run", class_name=NAMES[0], morph_to=NAMES[1], place=0.5, count=2)
    assert [opened(image).shape for image in answer["images"]] == [(SIZE, SIZE, 3)] * 2


@pytest.mark.parametrize(
    ("endpoint", "given", "says"),
    [
        ("generate", {"run": "nobody", "label_map": ""}, "no run 'nobody' here"),
        ("generate", {"run": "facades", "label_map": "%"}, "no file in base64"),
        ("translate", {"run": "facades", "picture": base64.b64encode(b"x" * 999).decode()}, "no picture of a kind"),
        ("translate", {"run": "facades", "picture": png(np.zeros((400, 400, 3), np.uint8))}, "this app takes 0.1"),
        ("translate", {"run": "facades", "picture": png(np.zeros((8, 8, 3), np.uint8)), "seed": -1}, "The seed must"),
        ("classes", {"run": "run", "class_name": "nobody"}, "no class 'nobody'"),
    ],
)
def test_refused_in_words(app: Served, endpoint, given, says):
    with pytest.raises(RuntimeError, match=says):
        call(app, endpoint, **given)


def test_only_the_endpoints_are_for_programs(app: Served):
    _, info = fetch(f"{app.address}gradio_api/info")
    assert set(json.loads(info)["named_endpoints"]) == {"/models", "/generate", "/translate", "/classes"}


@pytest.mark.parametrize(
    "file",
    [
        "/etc/hostname",
        str(REPO / "train.py"),
        "{runs}/checkpoints/facades/latest_net_G.pth",
        "{folder}/../x",
        "README.md",
    ],
)
def test_no_other_files_are_served(app: Served, file):
    path = file.format(runs=app.runs, folder=app.folder)
    for form in (path, quote(path, safe="")):
        status, body = fetch(f"{app.address}gradio_api/file={form}")
        assert status in (403, 404), body[:200]


def test_uploads_stay_in_the_folder_of_the_app(app: Served):
    """A visitor's file name is no path, and what was sent can be fetched again only from there."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="../../../evil.png"\r\n\r\n'
    body = head + base64.b64decode(png(facade_map())) + b"\r\n--x--\r\n"
    status, answer = fetch(f"{app.address}gradio_api/upload", body, content_type="multipart/form-data; boundary=x")
    (path,) = json.loads(answer)
    assert status == 200 and Path(path).resolve().is_relative_to(app.folder.resolve())
    assert not list(app.folder.parent.glob("evil*"))
    assert fetch(f"{app.address}gradio_api/file={path}")[0] == 200


def test_large_uploads_are_refused(app: Served):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head + bytes(600_000) + b"\r\n--x--\r\n"
    status, text = fetch(f"{app.address}gradio_api/upload", body, content_type="multipart/form-data; boundary=x")
    assert status == 413 and b"maximum allowed size" in text


@pytest.mark.parametrize("path", ["gradio_api/upload", "gradio_api/queue/join", "gradio_api/call/generate"])
def test_large_bodies_are_refused_before_they_are_sent(app: Served, path):
    connection = http.client.HTTPConnection(app.address.split("/")[2], timeout=20)
    connection.putrequest("POST", f"/{path}")
    connection.putheader("Content-Length", "50000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def press(app: Served, handler: str, data: list[Any]) -> dict[str, Any]:
    """What the page gets when a button is pressed whose handler has this name: the last message of the queue."""
    _, config = fetch(f"{app.address}config")
    (index,) = (each["id"] for each in json.loads(config)["dependencies"] if each["api_name"] == handler)
    session = f"test{index}"
    asked = {"data": data, "fn_index": index, "session_hash": session}
    status, answer = fetch(
        f"{app.address}gradio_api/queue/join", json.dumps(asked).encode(), content_type="application/json"
    )
    assert status == 200, answer
    _, stream = fetch(f"{app.address}gradio_api/queue/data?session_hash={session}")
    messages = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: ")]
    return next(each for each in messages if each["msg"] == "process_completed")


@pytest.mark.parametrize("path", ["/etc/hostname", str(REPO / "docs/images"), "https://example.org/a.png"])
def test_a_form_cannot_name_files_of_the_server(app: Served, path):
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    answer = press(app, "translate_picture", [file, None, ["facades"], "BtoA", 0, 1])
    assert not answer["success"] and "image.png" not in json.dumps(answer)


def test_page_says_where_its_scripts_come_from(app: Served):
    with urllib.request.urlopen(app.address) as answer:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_else_was_reached(app: Served):
    assert app.reached == []


def test_endpoints_leave_no_files(app: Served):
    """Their results travel in the answer, as PNG."""
    before = set(app.folder.rglob("*.*"))
    call(app, "generate", run="facades", label_map=png(colours_of(facade_map())))
    call(app, "translate", run="zebra", picture=png(colours_of(facade_map(40))), direction="BtoA")
    assert set(app.folder.rglob("*.*")) == before


def test_password(app_runs: Path):
    from scripts.apps.actions import Actions
    from scripts.apps.runs import Runs
    from scripts.apps.server import build_page, serve, temporary_folder
    from scripts.apps.uploads import Limits

    with temporary_folder() as folder:
        flags = ["--checkpoints_dir", str(app_runs / "checkpoints"), "--gpu_ids", "-1"]
        actions = Actions(Runs(["run"], flags, 1), Limits(100_000, 0.5), folder)
        page = build_page(actions)
        address = serve(page, actions, host="127.0.0.1", port=free_port(), auth=("ann", "secret"))
        try:
            assert fetch(f"{address}config")[0] == 401
            body = b'{"data": []}'
            assert fetch(f"{address}gradio_api/call/models", body, content_type="application/json")[0] == 401
            form = b"username=ann&password=wrong"
            assert fetch(f"{address}login", form, content_type="application/x-www-form-urlencoded")[0] == 400
            form = b"username=ann&password=secret"
            assert fetch(f"{address}login", form, content_type="application/x-www-form-urlencoded")[0] == 200
        finally:
            page.close(verbose=False)
    assert not folder.exists()
