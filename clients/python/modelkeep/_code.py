"""The code of a run: where it comes from, and the files that no commit has."""

from __future__ import annotations

import logging
import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from modelkeep._capture import CODE, packages
from modelkeep.api.lineage.v1 import run_pb2

if TYPE_CHECKING:
    from modelkeep import _git
    from modelkeep._artifact import Artifact
    from modelkeep._redact import Redactor

_log: Final = logging.getLogger("modelkeep")

MAX_SCRIPT_BYTES: Final = 4 << 20
COLLECTION: Final = "code"


@dataclass
class Code:
    """What was found out."""

    source: run_pb2.Source = field(default_factory=run_pb2.Source)
    packages: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """What is kept, by its path in the version: the script as `code/…`, `changes.patch`, `packages.txt`."""

    def artifact(self) -> Artifact | None:
        """The version to keep; None when there is nothing that a commit, or the run itself, does not tell."""
        if not any(name != "packages.txt" for name in self.files):
            return None
        from modelkeep._artifact import Artifact  # noqa: PLC0415 - many runs have no code to keep

        made = Artifact(self.collection, "code")
        made.is_silent = True
        for name, text in self.files.items():
            with made.new_file(name, "wb") as file:
                file.write(text.encode("utf-8", "replace"))
        return made

    @property
    def collection(self) -> str:
        """The collection that it goes to: one for each script."""
        words = re.sub(r"[^A-Za-z0-9_.-]+", "-", self.source.entry_point).strip("-.")
        return f"{COLLECTION}-{words[-100:]}" if words else COLLECTION


def entry_point() -> str:
    """The script or notebook that runs, as a path; empty when there is none: `python -c`, stdin, a prompt."""
    notebook = _notebook()
    if notebook is not None:
        return notebook
    main = sys.argv[0] if sys.argv else ""
    if main in {"", "-", "-c", "-m"}:
        main = getattr(sys.modules.get("__main__"), "__file__", "") or ""
    return os.path.abspath(main) if main and os.path.isfile(main) else ""


def _notebook() -> str | None:
    """The notebook of this kernel, empty when it cannot be told which; None when this is no kernel."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    for name in (shell.user_ns.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(name, str) and name.endswith(".ipynb") and os.path.isfile(name):
            return os.path.abspath(name)
    return ""


def find_out(items: frozenset[str], script: str, redactor: Redactor) -> Code:
    """What can be found out of what is to be captured. Never raises: a run does not fail for it."""
    from modelkeep import _git  # noqa: PLC0415 - it starts processes, and is only asked in the background

    code = Code()
    repository = _repository(script) if {"git", *CODE}.intersection(items) else None
    if script and "script" in items:
        code.source.entry_point = redactor.plain(_relative(script, repository))
    if repository is not None and "git" in items:
        code.source.repository_url = redactor.url(repository.remote)
        code.source.commit = repository.commit
        code.source.branch = redactor.plain(repository.branch)
        code.source.is_dirty = repository.is_dirty or bool(script and _git.is_new(repository, script))
    if repository is not None and "diff" in items and repository.is_dirty:
        _keep_changes(code, _git.diff(repository), redactor)
    if code.source.entry_point:
        text = _text_of(script, redactor)
        if text is not None:
            code.files[f"code/{code.source.entry_point}"] = text
    if "packages" in items:
        code.packages = packages()
        code.files["packages.txt"] = "".join(f"{package}\n" for package in code.packages)
    return code


def _keep_changes(code: Code, changes: _git.Diff, redactor: Redactor) -> None:
    from modelkeep import _git  # noqa: PLC0415 - as above

    told = ""
    if changes.is_cut:
        limits = f"at most {_git.MAX_DIFF_BYTES} bytes, and what git says within {_git.DIFF_SECONDS:g} s"
        _log.warning("not all changes are kept with the run: %s", limits)
        told = f"# cut here: not all changes are kept, {limits}\n"
    if changes.text or told:
        code.files["changes.patch"] = redactor.patch(changes.text) + told


def _repository(script: str) -> _git.Repository | None:
    """That of the script; where there is no script, that of the working directory."""
    from modelkeep import _git  # noqa: PLC0415 - as above

    try:
        return _git.find(os.path.dirname(os.path.realpath(script)) if script else os.getcwd())
    except OSError:
        return None  # the working directory was removed


def _relative(script: str, repository: _git.Repository | None) -> str:
    path = os.path.realpath(script)
    if repository is not None:
        relative = os.path.relpath(path, os.path.realpath(repository.root))
        if not relative.startswith(".."):
            return relative.replace(os.sep, "/")
    return os.path.basename(script)


def _text_of(script: str, redactor: Redactor) -> str | None:
    """The script without secrets, a notebook without what it printed; None when it is no text, or too large."""
    try:
        with open(script, "rb") as file:
            data = file.read(MAX_SCRIPT_BYTES + 1)
        if len(data) > MAX_SCRIPT_BYTES:
            _log.warning("%s has more than %d bytes, so it is not kept with the run", script, MAX_SCRIPT_BYTES)
            return None
        text = data.decode()
        return redactor.notebook(text) if script.endswith(".ipynb") else redactor.text(text, is_code=True)
    except (OSError, ValueError) as error:
        _log.info("%s is not kept with the run: %s", script, error)
        return None
