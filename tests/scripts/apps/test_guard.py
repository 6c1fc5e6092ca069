"""The guard before the server: paths that are not offered, and bodies that are too long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scripts.apps.guard import Guard, is_offered


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://example.org/a.png",
        "/gradio_api/file=HTTPS://example.org/a.png",
        "/gradio_api/file/https://example.org/a.png",
        "/gradio_api/file%3Dhttps%3A//example.org/a.png",
        "/gradio_api/proxy=https://example.org",
        "/gradio_api/process_recording",
        "/gradio_api/vibe-code",
        "/gradio_api/run-history/connect",
        "/gradio_api/deep_link",
        "/monitoring/summary",
    ],
)
def test_ways_in_that_nobody_needs(path):
    assert not is_offered(path)


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/file=/x/image.png"]
)
def test_what_the_page_needs(path):
    assert is_offered(path)


def ask(body: list[bytes], *headers: tuple[bytes, bytes], path: str = "/gradio_api/upload") -> list[Any]:
    """What the guard, with a limit of 10 bytes, lets through to the application, and what it answers."""
    seen: list[Any] = []
    parts = [{"type": "http.request", "body": part, "more_body": True} for part in body]

    async def receive() -> Any:
        return parts.pop(0) if parts else {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        seen.append(message.get("status", message.get("body")))

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(len(body)):
            message = await receive()
            seen.append(message.get("body", message["type"]))

    scope = {"type": "http", "path": path, "headers": list(headers)}
    asyncio.run(Guard(inner, 10)(scope, receive, send))
    return seen


def test_short_bodies_pass():
    assert ask([b"12345", b"67890"], (b"content-length", b"10")) == [b"12345", b"67890"]


def test_long_bodies_are_refused_before_they_are_read():
    status, text = ask([b"12345"], (b"content-length", b"11"))
    assert status == 413 and b"larger than" in text


def test_bodies_without_a_length_end_at_the_limit():
    assert ask([b"12345", b"67890", b"1"]) == [b"12345", b"67890", "http.disconnect"]


def test_a_length_that_is_no_number():
    assert ask([], (b"content-length", b"-1"))[0] == 413


def test_other_paths_are_not_found():
    assert ask([], path="/gradio_api/proxy=x")[0] == 404
