"""One server for the tests of the app: runs of every kind, in this process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.apps.actions import Actions
from scripts.apps.palettes import BUILT_IN
from scripts.apps.runs import Runs
from scripts.apps.uploads import Limits
from tests.app_runs import make_app_runs

RUNS = ("facades", "noise", "deep", "zebra", "run")


@pytest.fixture(scope="session")
def app_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``make_app_runs``."""
    return make_app_runs(tmp_path_factory.mktemp("app"))


@pytest.fixture(scope="session")
def actions(app_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Actions:
    """The app without its page."""
    flags = ["--checkpoints_dir", str(app_runs / "checkpoints"), "--gpu_ids", "-1"]
    limits = Limits(max_pixels=100_000, max_mb=0.5)
    return Actions(Runs(RUNS, flags, max_models=2), limits, tmp_path_factory.mktemp("files"), dict(BUILT_IN))


@dataclass(frozen=True)
class Served:
    """The running app.

    Attributes:
        address: of its page, with a slash at the end.
        folder: of its temporary files.
        runs: the folder of the runs and their data.
        reached: hosts other than this machine that something tried to reach.
    """

    address: str
    folder: Path
    runs: Path
    reached: list[object]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def app(app_runs: Path) -> Iterator[Served]:
    """The app, served to this machine."""
    pytest.importorskip("gradio", reason="the app needs gradio: bash scripts/setup.sh --optional")
    from scripts.apps.server import build_page, serve, temporary_folder

    reached: list[object] = []
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):  # type: ignore[index]
            reached.append(address)
            raise OSError("not in a test")
        connect(self, address)  # type: ignore[arg-type]

    flags = ["--checkpoints_dir", str(app_runs / "checkpoints"), "--gpu_ids", "-1"]
    with pytest.MonkeyPatch.context() as patch, temporary_folder() as folder:
        patch.setattr(socket.socket, "connect", only_here)
        acts = Actions(Runs(RUNS, flags, max_models=2), Limits(100_000, 0.5), folder)
        page = build_page(acts)
        address = serve(page, acts, host="127.0.0.1", port=free_port(), auth=None)
        yield Served(address, folder, app_runs, reached)
        page.close(verbose=False)
