"""What the house tests read: the files of the repository, and the contract with its comments."""

import ast
import importlib.util
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
PRODUCT = ("clients/python/modelkeep", "clients/python/examples", "services/modelkeep_server", "protos")
_SERVICE = descriptor_pb2.FileDescriptorProto.SERVICE_FIELD_NUMBER
_METHOD = descriptor_pb2.ServiceDescriptorProto.METHOD_FIELD_NUMBER
_SYNTAX = descriptor_pb2.FileDescriptorProto.SYNTAX_FIELD_NUMBER


@cache
def files() -> tuple[Path, ...]:
    """Every file that is, or is about to be, committed; generated code and the license apart."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    paths = (ROOT / name for name in sorted(set(listed)) if name and not name.startswith("clients/python/modelkeep/api/"))
    return tuple(path for path in paths if path.is_file() and path.name != "LICENSE")


def relative(path: Path) -> str:
    """The path as people write it."""
    return path.relative_to(ROOT).as_posix()


def python_files(*folders: str) -> list[Path]:
    """The Python files below these folders."""
    return [p for p in files() if p.suffix == ".py" and relative(p).startswith(tuple(f"{folder}/" for folder in folders))]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file, as `path:name`, and its lines from `def` on, without its docstring."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
            yield f"{relative(path)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1 - docstring


@cache
def generator() -> ModuleType:
    """`protos/generate.py` as a module."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Rpc:
    """One method of the contract."""

    service: str
    """As on the wire: `modelkeep.api.blob.v1.BlobService`."""
    method: descriptor_pb2.MethodDescriptorProto
    comment: str
    errors_of_all: str
    """The comment at the head of its file: how every RPC there may fail."""
    request: descriptor_pb2.DescriptorProto
    response: descriptor_pb2.DescriptorProto

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.name}"

    @property
    def is_unary(self) -> bool:
        return not (self.method.client_streaming or self.method.server_streaming)

    @property
    def needs(self) -> str:
        """What the comment says that a caller needs, to the full stop."""
        match = re.search(r"Needs: ([^.]*)\.", self.comment)
        return match[1] if match else ""

    @property
    def reasons(self) -> frozenset[str]:
        """The codes and reasons that it may fail with, as the contract says."""
        return frozenset(re.findall(r"[A-Z]+(?:_[A-Z]+)*", f"{self.errors_of_all} {self.comment}"))


@cache
def contract() -> descriptor_pb2.FileDescriptorSet:
    """Our protos with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.binpb"
        generator()._compile("--include_source_info", f"--descriptor_set_out={image}")
        return descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())


@cache
def messages() -> dict[str, descriptor_pb2.DescriptorProto]:
    """Every message of the contract by its full name, with a dot in front."""
    return {f".{file.package}.{message.name}": message for file in contract().file for message in file.message_type}


@cache
def rpcs() -> tuple[Rpc, ...]:
    """Every method of every service."""
    found = []
    for file in contract().file:
        comments = {tuple(place.path): " ".join(place.leading_comments.split()) for place in file.source_code_info.location}
        head = next(
            " ".join(place.leading_detached_comments) for place in file.source_code_info.location if place.path == [_SYNTAX]
        )
        for s, service in enumerate(file.service):
            for m, method in enumerate(service.method):
                request, response = messages()[method.input_type], messages()[method.output_type]
                comment = comments[_SERVICE, s, _METHOD, m]
                found.append(Rpc(f"{file.package}.{service.name}", method, comment, head, request, response))
    return tuple(found)
