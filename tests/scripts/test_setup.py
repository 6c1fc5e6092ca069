"""``scripts/setup.sh``, run for real in a copy that needs only tiny packages, from a folder: no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

OLD_PYTHON = """#!/bin/sh
echo 3.8
"""
PYTHON_WITHOUT_VENV = f"""#!/bin/sh
case "$2" in *ensurepip*) exit 1;; esac
exec "{sys.executable}" "$@"
"""


def write_wheel(folder: Path, name: str, version: str, *requires: str, module: str = "") -> None:
    """A package of one module, ready to install."""
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", module)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


class Checkout:
    """A copy of the set-up in a folder with a space in its name, and a folder of wheels for pip."""

    def __init__(self, root: Path) -> None:
        self.root = root / "a checkout"
        self.wheels = root / "wheels"
        (self.root / "scripts").mkdir(parents=True)
        self.wheels.mkdir()
        shutil.copy(REPO / "scripts/setup.sh", self.root / "scripts")
        (self.root / "requirements.txt").write_text("# runtime\nalpha==1.0\nvisdom>=0.2.4\n")
        (self.root / "requirements-dev.txt").write_text("-r requirements.txt\nbeta>=1.0\n")
        (self.root / "requirements-optional.txt").write_text("gamma>=1.0\n")
        for name in ("alpha", "beta", "gamma"):
            write_wheel(self.wheels, name, "1.0")

    @property
    def env(self) -> Path:
        return self.root / ".venv"

    @property
    def log(self) -> Path:
        return self.env / "setup-pip.log"

    def setup(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        skipped = ("PIP_", "VIRTUAL_ENV", "CONDA_", "PYTHON")
        env = {name: value for name, value in os.environ.items() if not name.startswith(skipped)}
        env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri()}
        env |= {"PYTHON": sys.executable} | changes
        return subprocess.run(
            ["bash", str(self.root / "scripts/setup.sh"), *arguments],
            env={name: value for name, value in env.items() if value},
            cwd=self.root.parent,
            capture_output=True,
            text=True,
        )

    def installed(self) -> set[str]:
        names = (path.name.split("-")[0] for path in self.env.glob("lib/python*/site-packages/*.dist-info"))
        return set(names) - {"pip", "setuptools"}


def shim(folder: Path, **programs: str) -> str:
    """A PATH whose only Pythons are the given scripts, with the tools that the set-up calls."""
    folder.mkdir()
    for tool in ("bash", "sh", "dirname", "sed", "grep", "awk", "df", "mktemp", "rm", "mkdir", "cat"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def bare_env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but pip; making one takes seconds, a copy of it does not."""
    env = tmp_path_factory.mktemp("bare") / "env"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    return env


@pytest.fixture
def prepared(checkout: Checkout, bare_env: Path) -> Checkout:
    """A checkout whose environment exists already, without packages."""
    shutil.copytree(bare_env, checkout.env, symlinks=True)
    return checkout


def test_replaces_a_dead_environment_with_a_newer_python_behind_an_old_one(checkout: Checkout, tmp_path: Path) -> None:
    (checkout.env / "bin").mkdir(parents=True)
    (checkout.env / "bin/python").symlink_to(tmp_path / "gone")
    newer = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    path = shim(tmp_path / "bin", **{"python3": OLD_PYTHON, "python3.11": newer})
    done = checkout.setup("--print-python", PYTHON="", PATH=path)
    assert (done.returncode, done.stdout) == (0, f"{checkout.env}/bin/python\n"), done.stderr
    assert "its Python does not run" in done.stderr and checkout.installed() == {"alpha"}


def test_installs_once_and_again_only_when_something_changed(prepared: Checkout) -> None:
    write_wheel(prepared.wheels, "visdom", "0.2.4")
    first = prepared.setup()
    assert first.returncode == 0, first.stderr
    assert prepared.installed() == {"alpha", "visdom"}

    prepared.log.unlink()
    assert prepared.setup("--print-python").stdout == f"{prepared.env}/bin/python\n"
    assert not prepared.log.exists(), "nothing changed, but pip ran"

    assert prepared.setup("--optional").returncode == 0
    assert prepared.installed() == {"alpha", "gamma", "visdom"}
    assert prepared.setup("--dev").returncode == 0
    assert prepared.installed() == {"alpha", "beta", "gamma", "visdom"}
    prepared.log.unlink()
    assert [prepared.setup(flag).returncode for flag in ("--dev", "--optional")] == [0, 0]
    assert prepared.setup().returncode == 0
    assert not prepared.log.exists(), "the test tools include the runtime and the optional packages"

    write_wheel(prepared.wheels, "alpha", "2.0")
    (prepared.root / "requirements.txt").write_text("alpha==2.0\nvisdom>=0.2.4\n")
    assert prepared.setup().returncode == 0
    assert list(prepared.env.glob("lib/python*/site-packages/alpha-2.0.dist-info"))


def test_goes_on_without_visdom_and_says_so_once(prepared: Checkout) -> None:
    first = prepared.setup()
    assert (first.returncode, prepared.installed()) == (0, {"alpha"})
    assert first.stderr.count("training works without the live view") == 1
    again = prepared.setup()
    assert "warning" not in again.stderr and "without visdom" in again.stderr

    write_wheel(prepared.wheels, "visdom", "0.2.4")
    forced = prepared.setup("--force")
    assert (forced.returncode, prepared.installed()) == (0, {"alpha", "visdom"})
    assert "without visdom" not in forced.stderr


def test_recovers_from_an_interrupted_install(prepared: Checkout) -> None:
    assert prepared.setup().returncode == 0
    # As a kill leaves it: a package without the files that pip writes last, and the marker of the set-up.
    (prepared.env / ".setup-installing").touch()
    record = next(prepared.env.glob("lib/python*/site-packages/alpha-1.0.dist-info"))
    for name in ("RECORD", "INSTALLER"):
        (record / name).unlink()
    record.with_name("alpha.py").unlink()
    again = prepared.setup()
    assert again.returncode == 0, again.stderr
    assert "installing again what was interrupted: alpha-1.0" in again.stderr
    assert record.with_name("alpha.py").exists()


def test_makes_again_what_was_interrupted_in_the_making(checkout: Checkout) -> None:
    (checkout.env / "bin").mkdir(parents=True)
    (checkout.env / "bin/python").symlink_to(sys.executable)
    (checkout.env / ".setup-making").touch()
    done = checkout.setup()
    assert done.returncode == 0, done.stderr
    assert "again" in done.stderr and checkout.installed() == {"alpha"}


def test_an_old_environment_is_not_deleted(checkout: Checkout) -> None:
    (checkout.env / "bin").mkdir(parents=True)
    (checkout.env / "bin/python").write_text(OLD_PYTHON)
    (checkout.env / "bin/python").chmod(0o755)
    done = checkout.setup()
    assert done.returncode == 1 and "has Python 3.8; 3.10 or newer is needed; delete that folder" in done.stderr
    assert (checkout.env / "bin/python").exists()


def test_uses_the_active_environment_but_not_condas_base(prepared: Checkout, tmp_path: Path) -> None:
    active = tmp_path / "active env"
    shutil.copytree(prepared.env, active, symlinks=True)
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        done = prepared.setup("--print-python", PYTHON="", **{variable: str(active)})
        assert (done.stdout, done.returncode) == (f"{active}/bin/python\n", 0)
    assert prepared.installed() == set(), "the packages belong into the active environment"
    gone = prepared.setup(PYTHON="", VIRTUAL_ENV=str(tmp_path / "gone"))
    assert gone.returncode == 1 and "no Python that runs; deactivate it" in gone.stderr

    base = prepared.setup("--print-python", PYTHON="", CONDA_PREFIX=str(active), CONDA_DEFAULT_ENV="base")
    assert base.stdout == f"{prepared.env}/bin/python\n"


@pytest.mark.parametrize(
    ("programs", "python", "message"),
    [
        ({"python3": OLD_PYTHON, "python": OLD_PYTHON}, "", "3.10 or newer is needed; python3 is 3.8; python is 3.8;"),
        ({}, "", "Python 3.10 or newer is needed; no python3 was found on PATH"),
        ({"python3": "#!/bin/sh\nexit 127\n"}, "", "no python3 was found on PATH"),
        ({"old": OLD_PYTHON}, "old", "PYTHON='old' is Python 3.8; 3.10 or newer is needed"),
        ({}, "gone", "PYTHON='gone' does not run"),
        ({"python3": OLD_PYTHON, "python3.12": PYTHON_WITHOUT_VENV}, "", "lacks the venv module"),
        ({"bare": PYTHON_WITHOUT_VENV}, "bare", "PYTHON='bare' lacks the venv module"),
    ],
)
def test_says_which_python_is_needed(
    checkout: Checkout, tmp_path: Path, programs: dict[str, str], python: str, message: str
) -> None:
    done = checkout.setup(PYTHON=python, PATH=shim(tmp_path / "bin", **programs))
    assert done.returncode == 1
    assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not checkout.env.exists()


@pytest.mark.parametrize(
    ("pip_says", "message"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("error: command 'gcc' failed: No such file or directory", "no compiler was found"),
        ("NewConnectionError: [Errno 111] Connection refused", "the package index cannot be reached"),
        ("No matching distribution found for alpha==1.0", "No matching distribution found for alpha==1.0; is there"),
        ("something else", "pip could not install the packages"),
    ],
)
def test_says_why_pip_failed(checkout: Checkout, tmp_path: Path, pip_says: str, message: str) -> None:
    """pip is replaced by one that writes the given words to its log and fails: python -m pip --log FILE install ..."""
    active = tmp_path / "active/bin"
    active.mkdir(parents=True)
    (active / "python").write_text(
        f'#!/bin/sh\nif [ "$3" = --log ]; then echo "{pip_says}" >>"$4"; exit 1; fi\nexec "{sys.executable}" "$@"\n'
    )
    (active / "python").chmod(0o755)
    done = checkout.setup(PYTHON="", VIRTUAL_ENV=str(active.parent))
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert not (active.parent / ".setup-stamp").exists()


def test_real_pip_names_the_missing_package(prepared: Checkout) -> None:
    (prepared.wheels / "alpha-1.0-py3-none-any.whl").unlink()
    done = prepared.setup()
    assert done.returncode == 1
    assert "No matching distribution found for alpha==1.0; is there a build" in done.stderr.splitlines()[-1]
    write_wheel(prepared.wheels, "alpha", "1.0")
    assert prepared.setup().returncode == 0


# --- torch ------------------------------------------------------------------------------------------------------------

TORCH = """
class version:
    cuda = "13.0"

class cuda:
    @staticmethod
    def device_count():
        return 0

    @staticmethod
    def init():
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")

class device: ...

__version__ = "{version}"
"""


def write_torch(folder: Path, version: str) -> None:
    write_wheel(folder, "torch", version, module=TORCH.format(version=version))


@pytest.fixture
def with_torch(prepared: Checkout) -> Checkout:
    """A checkout that needs torch, an index with three, and the torchvision of each."""
    (prepared.root / "requirements.txt").write_text("torch>=2.6,<2.15\ntorchvision>=0.21,<=0.29.1\nalpha==1.0\n")
    (prepared.root / "requirements.txt").open("a").write("visdom>=0.2.4\n")
    for torch, torchvision in (("2.4.1", "0.19.1"), ("2.6.0", "0.21.0"), ("2.14.1", "0.29.1"), ("2.15.0", "0.30.0")):
        write_torch(prepared.wheels, torch)
        write_wheel(prepared.wheels, "torchvision", torchvision, f"torch=={torch}")
    write_wheel(prepared.wheels, "visdom", "0.2.4", "torch")
    (prepared.root / "util/run").mkdir(parents=True)
    shutil.copy(REPO / "util/run/device.py", prepared.root / "util/run")
    return prepared


def versions(env: Path) -> dict[str, str]:
    """Package -> version of torch and torchvision in an environment."""
    records = env.glob("lib/python*/site-packages/torch*.dist-info")
    return dict(record.name.removesuffix(".dist-info").split("-") for record in records)


def pip(env: Path, wheels: Path, *words: str) -> None:
    found = ["--no-index", "--find-links", str(wheels)]
    command = [str(env / "bin/python"), "-m", "pip", "-q", "install", *found, *words]
    subprocess.run(command, env=os.environ | {"PIP_CONFIG_FILE": os.devnull}, check=True)


def test_a_new_environment_takes_the_newest_torch_of_the_range(with_torch: Checkout) -> None:
    done = with_torch.setup()
    assert done.returncode == 0, done.stderr
    assert versions(with_torch.env) == {"torch": "2.14.1", "torchvision": "0.29.1"}
    assert "keeping" not in done.stderr and "GPU" not in done.stderr


def test_a_torch_that_works_is_kept_and_gets_its_torchvision(with_torch: Checkout, tmp_path: Path) -> None:
    write_torch(with_torch.wheels, "2.6.0+cu118")
    write_wheel(with_torch.wheels, "torchvision", "0.21.0+cu118", "torch==2.6.0")
    active = tmp_path / "active"
    shutil.copytree(with_torch.env, active, symlinks=True)
    pip(active, with_torch.wheels, "torch==2.6.0+cu118")
    done = with_torch.setup(PYTHON="", VIRTUAL_ENV=str(active))
    assert done.returncode == 0, done.stderr
    assert f"keeping torch 2.6.0+cu118 of {active}" in done.stderr
    assert versions(active) == {"torch": "2.6.0+cu118", "torchvision": "0.21.0+cu118"}
    assert "https://download.pytorch.org/whl/cu118" in (active / "setup-pip.log").read_text()

    assert with_torch.setup("--force", PYTHON="", VIRTUAL_ENV=str(active)).returncode == 0
    assert versions(active) == {"torch": "2.6.0+cu118", "torchvision": "0.21.0+cu118"}


def test_a_newer_torch_is_kept_with_a_word(with_torch: Checkout) -> None:
    pip(with_torch.env, with_torch.wheels, "torch==2.15.0", "torchvision==0.30.0")
    done = with_torch.setup()
    assert done.returncode == 0, done.stderr
    assert "newer than those that were tried (torch>=2.6,<2.15)" in done.stderr
    assert versions(with_torch.env) == {"torch": "2.15.0", "torchvision": "0.30.0"}


def test_an_old_torch_is_replaced_only_in_the_own_environment(with_torch: Checkout, tmp_path: Path) -> None:
    pip(with_torch.env, with_torch.wheels, "torch==2.4.1", "torchvision==0.19.1")
    active = tmp_path / "active"
    shutil.copytree(with_torch.env, active, symlinks=True)
    before = {path: path.stat().st_mtime_ns for path in active.rglob("*") if "__pycache__" not in path.parts}
    done = with_torch.setup(PYTHON="", VIRTUAL_ENV=str(active))
    assert done.returncode == 1
    assert f"torch 2.4.1 in {active} is too old, torch>=2.6,<2.15 is needed; update it there" in done.stderr
    assert before.keys() == {path for path in active.rglob("*") if "__pycache__" not in path.parts}

    assert with_torch.setup().returncode == 0
    assert versions(with_torch.env) == {"torch": "2.14.1", "torchvision": "0.29.1"}


def test_a_torch_that_does_not_import_is_named(with_torch: Checkout, tmp_path: Path) -> None:
    write_wheel(with_torch.wheels, "torch", "2.6.1", module="raise OSError('libcudart.so.12: cannot open')")
    active = tmp_path / "active"
    shutil.copytree(with_torch.env, active, symlinks=True)
    pip(active, with_torch.wheels, "torch==2.6.1")
    done = with_torch.setup(PYTHON="", VIRTUAL_ENV=str(active))
    assert done.returncode == 1
    assert f"torch in {active} cannot be imported (OSError libcudart.so.12: cannot open); repair it" in done.stderr

    write_wheel(with_torch.wheels, "torchvision", "0.29.1", "torch==2.14.1", module="raise RuntimeError('other CUDA')")
    done = with_torch.setup()
    assert done.returncode == 1 and "do not work together: RuntimeError: other CUDA" in done.stderr.splitlines()[-1]


def test_an_old_driver_is_told_from_no_gpu(with_torch: Checkout, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/nvidia-smi").write_text("#!/bin/sh\necho '470.82.01, Tesla T4'\n")
    (tmp_path / "bin/nvidia-smi").chmod(0o755)
    done = with_torch.setup(PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", CUDA_VISIBLE_DEVICES="0")
    assert done.returncode == 0, done.stderr
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    assert "NVIDIA driver 470.82.01 is too old for torch 2.14.1, built for CUDA 13.0" in warning


def test_unknown_argument(checkout: Checkout) -> None:
    done = checkout.setup("--dve")
    assert (done.returncode, done.stderr) == (
        2,
        "unknown argument '--dve'; known: --optional, --dev, --force, --print-python, --help\n",
    )
