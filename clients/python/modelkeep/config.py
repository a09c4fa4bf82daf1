"""Client settings: which server, with which key, for which team and project.

In order: arguments, environment (`MODELKEEP_URL`, `MODELKEEP_API_KEY`, `MODELKEEP_TEAM`, `MODELKEEP_PROJECT`), the file that
`modelkeep login` writes, and the file of an embedded server that runs on this machine. A key from a file is only ever sent to
the server that stands beside it in the file.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from modelkeep._left_behind import remove_left_behind
from modelkeep.errors import InvalidArgument, NotConfigured
from modelkeep.names import parse_identifier

DEFAULT_PROJECT: Final = "default"
"""The project of those who name none (SEM-1)."""
DEFAULT_TIMEOUT_SECONDS: Final = 120.0
"""The deadline of a call with all its tries."""
DEFAULT_CACHE_BYTES: Final = 10 << 30
"""How much this machine keeps of what was fetched, unless it is told otherwise."""
_HOW: Final = "start one with `modelkeep up`, or set MODELKEEP_URL and MODELKEEP_API_KEY, or run `modelkeep login`"
_ENVIRONMENT: Final = {
    "url": "MODELKEEP_URL",
    "api_key": "MODELKEEP_API_KEY",
    "team": "MODELKEEP_TEAM",
    "project": "MODELKEEP_PROJECT",
    "blob_url": "MODELKEEP_BLOB_URL",
    "lineage_url": "MODELKEEP_LINEAGE_URL",
    "ca_file": "MODELKEEP_CA_FILE",
    "cert_file": "MODELKEEP_CERT_FILE",
    "key_file": "MODELKEEP_KEY_FILE",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens."""

    target: str
    """As gRPC writes it: `dns:///host:port` or `unix:/path`."""
    tls: bool
    loopback: bool

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read `grpc://host:port`, `grpcs://host:port` or `unix:/path`. Raises InvalidArgument."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme == "unix" and parts.path.startswith("/"):
            return cls(f"unix:{parts.path}", tls=False, loopback=True)
        if parts.scheme not in {"grpc", "grpcs"} or not host or "@" in parts.netloc or parts.path.strip("/"):
            message = f"{url[:200]!r} is not the URL of a server; expected grpc://host:port, grpcs://host:port or unix:/path"
            raise InvalidArgument(message, field="url", value=url[:200])
        tls = parts.scheme == "grpcs"
        shown = f"[{host}]" if ":" in host else host
        loopback = host in {"localhost", "::1"} or host.startswith("127.")
        return cls(f"dns:///{shown}:{port or (443 if tls else 7460)}", tls, loopback)


@dataclass(frozen=True, slots=True)
class Config:
    """What a client needs to know."""

    url: str
    api_key: str = field(repr=False)
    team: str = ""
    """Empty means: the team of the key."""
    project: str = DEFAULT_PROJECT
    blob_url: str = ""
    """Only where no ingress routes all services by one address."""
    lineage_url: str = ""
    """The same, for the lineage service."""
    ca_file: str = ""
    """The authorities (PEM) that may vouch for the server; the system's when empty."""
    cert_file: str = ""
    """This client's own certificate (PEM), where the server asks for one."""
    key_file: str = ""
    """The private key of that certificate (PEM)."""
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    """The deadline of a call with all its tries; a transfer gets more, by its size."""

    is_found: bool = False
    """Whether the key is the one that the server of this machine wrote down for this user; each of its starts has another."""

    def url_of(self, service: str) -> str:
        """The address of a service: its own, else the one of all."""
        return {"blob": self.blob_url, "lineage": self.lineage_url}.get(service) or self.url

    def __post_init__(self) -> None:
        for url in (self.url, self.blob_url, self.lineage_url):
            if url or url is self.url:
                Endpoint.parse(url)
        if self.team:
            parse_identifier(self.team, "team name")
        parse_identifier(self.project, "project name")
        if bool(self.cert_file) != bool(self.key_file):
            raise InvalidArgument("a client certificate and its key must be given together", field="cert_file")
        if not 0 < self.timeout_seconds < math.inf:
            message = f"the timeout is {self.timeout_seconds} seconds; it must be more than 0, and end"
            raise InvalidArgument(message, field="timeout_seconds", value=str(self.timeout_seconds))


def load(
    url: str = "", api_key: str = "", *, team: str = "", project: str = "", timeout_seconds: float | None = None
) -> Config:
    """The settings in force; an argument that is empty is looked up. Raises NotConfigured, InvalidArgument, InvalidName."""
    given = {"url": url, "api_key": api_key, "team": team, "project": project}
    stated = {name: given.get(name) or os.environ.get(variable, "") for name, variable in _ENVIRONMENT.items()}
    found: dict[str, str] = {}
    for source in (_login, _running):
        if stated["url"] and stated["api_key"]:
            break
        found = source(stated["url"])
        if found:
            break
    values: dict[str, Any] = {name: value or found.get(name, "") for name, value in stated.items()}
    if not values["url"]:
        raise NotConfigured(f"no Modelkeep server is configured and none is running here: {_HOW}")
    if not values["api_key"]:
        message = f"there is no API key for {values['url']}: set MODELKEEP_API_KEY, or run `modelkeep login`"
        raise NotConfigured(message, url=values["url"])
    values["project"] = values["project"] or DEFAULT_PROJECT
    is_found = source is _running and not stated["api_key"]
    return Config(**values, timeout_seconds=_timeout(timeout_seconds), is_found=is_found)


def key_of_next_start(config: Config) -> str:
    """The key that the server of this machine has now, at the address of a configuration that was found; else empty."""
    return _running(config.url).get("api_key", "") if config.is_found else ""


def place(team: str = "", project: str = "") -> tuple[str, str]:
    """The team and the project in force, for who needs no server: no team means that of the key that will be used."""
    saved = _login("")
    team = team or os.environ.get("MODELKEEP_TEAM", "") or saved.get("team", "")
    project = project or os.environ.get("MODELKEEP_PROJECT", "") or saved.get("project", "") or DEFAULT_PROJECT
    if team:
        parse_identifier(team, "team name")
    return team, parse_identifier(project, "project name")


def offline_dir() -> str:
    """Where runs that are offline record, when nobody says otherwise."""
    return os.environ.get("MODELKEEP_OFFLINE_DIR", "") or "modelkeep-offline"


def cache_home() -> Path:
    """The folder in which this machine keeps what was fetched."""
    chosen = os.environ.get("MODELKEEP_CACHE_DIR", "")
    if chosen:
        return Path(chosen)
    import platformdirs  # noqa: PLC0415 - as above

    return platformdirs.user_cache_path("modelkeep")


def cache_limit_bytes() -> int:
    """How many bytes that folder may have; 0 means that there is no cache. Raises InvalidArgument."""
    text = os.environ.get("MODELKEEP_CACHE_BYTES", "")
    try:
        limit = parse_bytes(text) if text else DEFAULT_CACHE_BYTES
    except ValueError:
        limit = -1
    if limit < 0:
        message = (
            f"MODELKEEP_CACHE_BYTES is {text[:100]!r}; expected a number of bytes, like 10737418240 or 10GiB, or 0 for no cache"
        )
        raise InvalidArgument(message, field="MODELKEEP_CACHE_BYTES", value=text[:100])
    return limit


def parse_bytes(text: str) -> int:
    """Read a number of bytes: `1048576`, `1MiB` or `1 MB`. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,18})\s*(?:([KMGT])(i?)B)?", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(text)
    power = " KMGT".index(match[2]) if match[2] else 0
    unit: int = (1024 if match[3] else 1000) ** power
    return int(match[1]) * unit


def _timeout(given: float | None) -> float:
    if given is not None:
        return given
    text = os.environ.get("MODELKEEP_TIMEOUT_SECONDS", "")
    try:
        return float(text) if text else DEFAULT_TIMEOUT_SECONDS
    except ValueError:
        message = f"MODELKEEP_TIMEOUT_SECONDS is {text[:100]!r}; expected a number of seconds"
        raise InvalidArgument(message, field="MODELKEEP_TIMEOUT_SECONDS", value=text[:100]) from None


def config_home() -> Path:
    """The user's configuration folder for Modelkeep."""
    chosen = os.environ.get("MODELKEEP_CONFIG_HOME", "")
    if chosen:
        return Path(chosen)
    import platformdirs  # noqa: PLC0415 - most processes have the environment and need no folder

    return platformdirs.user_config_path("modelkeep")


def save_login(url: str, api_key: str, *, team: str = "", project: str = "") -> Path:
    """Write the file that later calls of `load` read, readable by its owner only, and answer where it is."""
    values = {"url": url, "api_key": api_key, "team": team, "project": project}
    checked: dict[str, Any] = {name: value for name, value in values.items() if value or name == "api_key"}
    Config(**checked)
    path = config_home() / "config.toml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value]
    remove_left_behind(str(path.parent), r"\.config-[a-z0-9_]{8}")  # the names that mkstemp makes
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".config-")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _login(url: str) -> dict[str, str]:
    """What `modelkeep login` wrote, if it is about `url` or `url` is empty."""
    path = config_home() / "config.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    import tomllib  # noqa: PLC0415 - only those who logged in need it

    try:
        return _checked(tomllib.loads(text), path, url)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path} is not TOML ({error}); run `modelkeep login` again", field=str(path)) from None


def _running(url: str) -> dict[str, str]:
    """What the embedded server of this user wrote, if it answers and is the one at `url` or `url` is empty."""
    path = config_home() / "server.json"
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    shared = {name: written.get(name, "") for name in ("url", "api_key")} if isinstance(written, dict) else {}
    found = _checked(shared, path, url)
    return found if found and _answers(found["url"]) else {}


def _checked(values: dict[str, Any], path: Path, url: str) -> dict[str, str]:
    unknown = sorted(set(values) - set(_ENVIRONMENT))
    if unknown:
        message = f"{path} has a setting {unknown[0]!r}; known are {', '.join(sorted(_ENVIRONMENT))}"
        raise InvalidArgument(message, field=unknown[0])
    texts = {name: value for name, value in values.items() if isinstance(value, str) and value}
    if not texts.get("url") or (url and texts["url"] != url):
        return {}
    return texts


def _answers(url: str) -> bool:
    """Whether somebody accepts connections there, on this machine."""
    try:
        target = Endpoint.parse(url).target
        if target.startswith("unix:"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(target.removeprefix("unix:"))
        else:
            host, _, port = target.removeprefix("dns:///").rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except (OSError, InvalidArgument):
        return False
    return True
