"""visdom: images, captions, loss curves and metrics of a run, live in a browser."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from options.schema import arg
from util.loggers import LOGGERS
from util.loggers.base import RunLog
from util.loggers.live import Event, LiveLogger
from util.metrics.measurement import metric_title, scaled
from util.pages.charts import Curves
from util.types import EpochRecord, ImageRecord, ScalarRecord

if TYPE_CHECKING:
    import numpy as np

MAX_POINTS = 2000
ADVICE = "Start a server by `python -m visdom.server -bind_local`, or turn visdom off by --display_id 0."

_CONNECT_SECONDS, _ANSWER_SECONDS = 3.0, 10.0


@dataclass(frozen=True, kw_only=True)
class VisdomOptions:
    """visdom."""

    display_id: int = arg(1, help="visdom window; 0 = no visdom")
    display_ncols: int = arg(4, minimum=1, help="pictures in a row of the visdom panel")
    display_server: str = arg("http://localhost", help="visdom server")
    display_port: int = arg(8097, minimum=1, help="port of the visdom server")
    display_env: str = arg("main", help="visdom environment")


class VisdomBoard:
    """The windows of one run on a visdom server. Every method waits for the server, and raises when it does not answer.

    Windows: ``display_id`` the loss plot, ``display_id + 1`` the images (one panel of ``ncols`` columns; with
    ``ncols`` 0 every image has a window of its own, from ``display_id + 1`` on), ``display_id + 2`` their captions,
    ``display_id + 3`` the metrics (with ``ncols`` 0, where nobody knows how many numbers the images take, the window
    ``<display_id>_metrics``).

    Args:
        name: name of the experiment, for the titles.
        server: ``http://host``.
        port: port of the server.
        env: visdom environment; windows of the same id in the same environment are reused.
        display_id: id of the loss plot.
        ncols: images in a row.
    """

    def __init__(
        self,
        name: str,
        *,
        server: str = "http://localhost",
        port: int = 8097,
        env: str = "main",
        display_id: int = 1,
        ncols: int = 4,
    ) -> None:
        self._name = name
        self._server = server if "://" in server else f"http://{server}"
        self._port = port
        self._env = env
        self._id = display_id
        self._ncols = ncols
        self._client: Any = None

    @property
    def address(self) -> str:
        return f"{self._server}:{self._port}"

    @property
    def connected(self) -> bool:
        return self._client is not None

    def connect(self) -> None:
        """Open the connection.

        Raises:
            ConnectionError: no server answers at the address.
            ImportError: visdom is not installed or does not import.
        """
        # A knock at the door first: importing visdom takes seconds, and most runs have no server.
        parts = urlsplit(self._server)
        try:
            socket.create_connection((parts.hostname or "localhost", self._port), _CONNECT_SECONDS).close()
        except OSError as error:
            raise ConnectionError(f"No visdom server answers at {self.address} ({error})") from None
        self._client = _new_client(self._server, self._port, self._env)

    def disconnect(self) -> None:
        """Forget the connection; ``connect`` opens a new one."""
        self._client = None

    def draw_losses(self, curves: Curves) -> None:
        """Replace the loss plot by the curves. Without curves nothing is sent: a server fails on a plot of nothing."""
        if not curves:
            return
        traces = [
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": [bucket.x for bucket in curve.buckets],
                "y": [bucket.mean for bucket in curve.buckets],
            }
            for name, curve in curves.items()
        ]
        title = f"{self._name} loss over time"
        layout = {"title": title, "showlegend": True, "xaxis": {"title": "images"}, "yaxis": {"title": "loss"}}
        self._send(
            {"data": traces, "win": str(self._id), "layout": layout, "opts": {"title": title, "showlegend": True}}
        )

    def draw_metrics(self, curves: Curves) -> None:
        """Replace the plot of the metrics by the curves, one above the other: their values differ in size too much for
        a common axis. Without curves nothing is sent."""
        if not curves:
            return
        traces: list[dict[str, Any]] = []
        axes: dict[str, Any] = {}
        labels = []
        height = 1 / len(curves)  # of the window, for each
        for number, (name, curve) in enumerate(curves.items()):
            suffix = str(number + 1) if number else ""  # plotly counts yaxis, yaxis2, yaxis3...
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": metric_title(name),
                    "x": [bucket.x for bucket in curve.buckets],
                    "y": [bucket.mean for bucket in curve.buckets],
                    "yaxis": f"y{suffix}",
                }
            )
            bottom = 1 - (number + 1) * height
            axes[f"yaxis{suffix}"] = {"domain": [max(bottom, 0.0), bottom + 0.72 * height]}
            labels.append(_label(metric_title(name), bottom + 0.76 * height))
        axes["xaxis"] = {"title": "images", "anchor": traces[-1]["yaxis"]}  # below the lowest
        title = f"{self._name} metrics over time"
        layout = {"title": title, "showlegend": False, "annotations": labels, **axes}
        opts = {"title": title, "height": 160 + 130 * len(traces)}
        window = str(self._id + 3) if self._ncols > 0 else f"{self._id}_metrics"
        self._send({"data": traces, "win": window, "layout": layout, "opts": opts})

    def draw_images(self, images: Mapping[str, np.ndarray], *, headline: str, history: bool = False) -> None:
        """Replace the images and their captions.

        Args:
            images: visual name -> uint8 ``[H, W, 3]`` or ``[H, W, 1]``; sizes may differ.
            headline: where they come from, in the caption.
            history: keep the images that the panel holds; visdom gives it a slider. Begin with ``clear_images``.
        """
        from util.images.draw import picture_grid  # this file is read for --help, without numpy

        if not images:
            return
        if self._ncols <= 0:
            for number, (visual, pixels) in enumerate(images.items(), start=1):
                self._send_image(picture_grid([pixels], 1), str(self._id + number), f"{visual}, {headline}", history)
            return
        ncols = min(self._ncols, len(images))
        self._send_image(picture_grid(list(images.values()), ncols), str(self._id + 1), headline, history)
        title = f"{self._name} labels"
        table = _caption_table(list(images), ncols, headline)
        self._client.text(table, win=str(self._id + 2), opts={"title": title})

    def clear_images(self) -> None:
        """Take the image panel away, so that a history can begin: visdom adds none to a panel that began without."""
        self._client.close(win=str(self._id + 1))

    def save(self) -> None:
        """Let the server write the environment to its disk, so that it survives a restart of the server."""
        self._client.save([self._env])

    def _send_image(self, pixels: np.ndarray, window: str, caption: str, history: bool) -> None:
        options = {"title": f"{self._name} images", "caption": caption, "store_history": history}
        self._client.image(pixels.transpose(2, 0, 1), win=window, opts=options)

    def _send(self, message: dict[str, Any]) -> None:
        self._client._send({**message, "eid": self._env})


@LOGGERS.register("visdom")
class VisdomLogger(LiveLogger):
    """Shows a run on a visdom server, which may be dead, slow, or come and go.

    What could not be sent stays away, but the loss plot and the plot of the metrics are whole again after a
    reconnection (tried at most once a minute). They hold at most 2000 points a curve.

    Args:
        board: the windows.
        history: losses and metrics of the part of the run that was trained before.
    """

    Options = VisdomOptions

    def __init__(self, board: VisdomBoard, *, history: Iterable[ScalarRecord | EpochRecord] = (), **live: Any) -> None:
        super().__init__(ADVICE, **live)
        self._board = board
        self._losses = Curves(MAX_POINTS)
        self._metrics = Curves(MAX_POINTS)
        for record in history:
            self._add(record)

    @classmethod
    def open(cls, run: RunLog, options: VisdomOptions) -> VisdomLogger | None:
        if options.display_id <= 0:
            return None
        board = VisdomBoard(
            run.name,
            server=options.display_server,
            port=options.display_port,
            env=options.display_env,
            display_id=options.display_id,
            ncols=options.display_ncols,
        )
        return cls(board, history=run.history)

    def deliver(self, events: list[Event], send: bool) -> None:
        scalars = any(isinstance(event, ScalarRecord) for event in events)
        measured = any(isinstance(event, EpochRecord) and event.metrics for event in events)
        images = [event for event in events if isinstance(event, ImageRecord)]
        for event in events:
            if not isinstance(event, ImageRecord):
                self._add(event)
        if not send:
            return
        try:
            if not self._board.connected:
                self._board.connect()
                measured = True  # the next evaluation may be hours away: draw what there is
            if scalars:
                self._board.draw_losses(self._losses)
            if measured:
                self._board.draw_metrics(self._metrics)
            if images:
                last = images[-1]
                self._board.draw_images(last.images, headline=f"epoch {last.epoch}, {last.total_iters:,} images")
        except Exception:
            self._board.disconnect()
            raise

    def finish(self) -> None:
        if self._board.connected:
            self._board.save()

    def _add(self, record: ScalarRecord | EpochRecord) -> None:
        if isinstance(record, ScalarRecord):
            self._losses.add(record.total_iters, record.losses)
        else:
            self._metrics.add(record.total_iters, scaled(record.metrics))


def _new_client(server: str, port: int, env: str) -> Any:
    try:
        import requests
        import visdom
    except Exception as error:  # an old release with a new Python fails in other ways than ImportError, too
        message = f"visdom does not import ({error}); install it by `pip install -r requirements.txt`"
        raise ImportError(message) from None

    session = requests.Session()
    if urlsplit(server).hostname in ("localhost", "127.0.0.1", "::1"):
        session.trust_env = False  # a proxy for the internet cannot reach this machine's own server

    class Client(visdom.Visdom):
        """visdom's client with a limit to how long it waits for an answer."""

        def _handle_post(self, url: str, data: Any = None) -> str:
            # Not the errors of requests: visdom would put a sentence without the reason in their place.
            here = f"The visdom server at {server}:{port}"
            try:
                answer = session.post(url, data=data or {}, timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS))
            except requests.Timeout:
                raise ConnectionError(f"{here} does not answer within {_ANSWER_SECONDS:g} s") from None
            except requests.RequestException as error:
                raise ConnectionError(f"{here} is gone ({type(error).__name__})") from None
            if not answer.ok:
                raise ConnectionError(f"{here} answered {answer.status_code} {answer.reason} to {url}")
            return answer.text

    # Its log says nothing that our errors do not say better.
    logging.getLogger("visdom").setLevel(logging.CRITICAL)
    # Without the incoming socket: nothing is read from the windows, and it would start a thread that prints.
    return Client(server=server, port=port, env=env, raise_exceptions=True, use_incoming_socket=False)


def _label(text: str, height: float) -> dict[str, Any]:
    """A line of text at the left of a plot; ``height`` from 0 (bottom) to 1."""
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": height, "xanchor": "left", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, **place}


def _caption_table(names: Sequence[str], ncols: int, headline: str) -> str:
    cell = 'style="border:1px solid #999;padding:4px 10px;text-align:center"'
    rows = [names[start : start + ncols] for start in range(0, len(names), ncols)]
    body = "".join("<tr>" + "".join(f"<td {cell}>{escape(name)}</td>" for name in row) + "</tr>" for row in rows)
    return f'<p>{escape(headline)}</p><table style="border-collapse:collapse">{body}</table>'
