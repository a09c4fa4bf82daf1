"""Generates the Python code of the contract, and checks that what is committed is fresh, well-formed and compatible.

python protos/generate.py            write clients/python/modelkeep/api
python protos/generate.py --check    fail when the committed code differs from what the protos say
python protos/generate.py --lint     buf lint, buf format, and buf breaking against the last release
python protos/generate.py --release  make today's contract the baseline of `buf breaking`
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools
from google.api import field_behavior_pb2
from grpc_tools import protoc

PROTOS = Path(__file__).parent
TARGET = PROTOS.parent / "clients" / "python"
BASELINE = PROTOS / "baseline.binpb"
BUF = str(Path(sys.executable).with_name("buf"))


def _compile(*outputs: str, only: str = "*.proto") -> None:
    # google/api comes from the wheel googleapis-common-protos; the well-known types come with grpcio-tools.
    includes = [PROTOS, Path(field_behavior_pb2.__file__).parents[2], Path(grpc_tools.__file__).parent / "_proto"]
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "modelkeep").rglob(only))
    if protoc.main(["protoc", *(f"-I{include}" for include in includes), *outputs, *sources]) != 0:
        sys.exit("the protos do not compile")


def generate(target: Path) -> None:
    """Write the generated package `modelkeep.api` under `target`."""
    stubs = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).with_name('protoc-gen-mypy_grpc')}"
    _compile(f"--python_out={target}", f"--pyi_out={target}")
    _compile(stubs, f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}", only="*_service.proto")
    package = target / "modelkeep" / "api"
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir() and path.name != "__pycache__")]:
        (folder / "__init__.py").touch()  # without it the import checker does not see the package


def check() -> None:
    """Fail when the committed code is not what the protos say."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh = {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*.py*") if path.is_file()}
    committed = {
        path.relative_to(TARGET): path.read_bytes()
        for path in (TARGET / "modelkeep" / "api").rglob("*.py*")
        if path.suffix != ".pyc"
    }
    stale = sorted(str(path) for path in fresh.keys() | committed.keys() if fresh.get(path) != committed.get(path))
    if stale:
        sys.exit("stale generated code, run `make proto`:\n  " + "\n  ".join(stale))


def lint() -> None:
    """Check the form of the contract, and that it breaks no client of the last release."""
    with tempfile.TemporaryDirectory() as folder:
        image = str(Path(folder) / "image.binpb")
        _compile("--include_imports", "--include_source_info", f"--descriptor_set_out={image}")
        config = ["--config", str(PROTOS / "buf.yaml")]
        subprocess.run([BUF, "lint", image, *config], check=True)
        subprocess.run([BUF, "format", "--exit-code", "-d", "."], cwd=PROTOS, check=True)
        subprocess.run([BUF, "breaking", image, "--against", str(BASELINE), *config], check=True)


if __name__ == "__main__":
    try:
        match sys.argv[1:]:
            case []:
                generate(TARGET)
            case ["--check"]:
                check()
            case ["--lint"]:
                lint()
            case ["--release"]:
                _compile("--include_imports", f"--descriptor_set_out={BASELINE}")
            case _:
                sys.exit(__doc__)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
