"""What stands before gradio's server: a limit for the body of a request, paths that are not offered, headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_NOT_OFFERED = ("process_recording", "proxy=", "vibe-", "undo-vibe-edit", "deep_link", "run-history", "runs", "stream/")
"""What gradio offers below ``/gradio_api/`` and the app has no use for: more ways in."""

_HEADERS = (
    # Scripts of the page come from the app alone; gradio's own front end needs inline scripts and eval.
    (
        b"content-security-policy",
        b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


class Guard:
    """An ASGI application around another one.

    Args:
        app: the application.
        max_bytes: of the body of a request; a longer one is answered with 413.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if not is_offered(scope["path"]):
            await _answer(send, 404, "This is not offered here.")
            return
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self.max_bytes:
            await _answer(send, 413, f"The request is larger than {self.max_bytes / 1e6:.0f} MB.")
            return
        await self.app(scope, self._counted(receive), _with_headers(send))

    def _counted(self, receive: Receive) -> Receive:
        """``receive``, ended where a body without a length becomes too long: the request looks broken off."""
        total = 0

        async def limited() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            return message if total <= self.max_bytes else {"type": "http.disconnect"}

        return limited


def is_offered(path: str) -> bool:
    """Whether the app answers requests for this path.

    No file is fetched from elsewhere for a visitor: gradio would serve ``/gradio_api/file=https://...``.
    """
    inner = unquote(path).lstrip("/").lower()
    if inner == "monitoring" or inner.startswith("monitoring/"):
        return False
    api, _, rest = inner.partition("/")
    if api != "gradio_api":
        return True
    return not rest.startswith(_NOT_OFFERED) and not rest.startswith(("file=http:", "file=https:", "file/http"))


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *_HEADERS]
        await send(message)

    return with_headers


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
