"""Which configuration files count, strongest first, and their TOML as plain values. It does not know what keys mean."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rerank_cli.errors import ConfigError
from rerank_cli.files import reason_of
from rerank_cli.text import on_one_line, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "rerank.toml"
LARGEST = 1 << 20  # a configuration file of a megabyte is a mistake


class Role(Enum):
    """Who speaks in a file: its author decides how far it is trusted."""

    EXPLICIT = "--config"
    PROJECT = "project"
    USER = "user"

    @property
    def trusted(self) -> bool:
        """A project file comes with a checkout, so whoever wrote that checkout wrote it."""
        return self is not Role.PROJECT


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file that counts: where it lies, who speaks in it, its tables as Python values."""

    path: Path
    role: Role
    data: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """How messages name it: `project file /x/rerank.toml`."""
        return f"{self.role.value} file {self.path}"


def find_files(
    env: Mapping[str, str],
    named: str | None,
    *,
    none: bool,
    start: Path | None = None,
    ignored: Callable[[Path], object] = lambda _: None,
) -> list[ConfigFile]:
    """The files that count, strongest first: --config (`named`), project, user; none with --no-config (`none`).

    RERANK_CONFIG and RERANK_NO_CONFIG of `env` count too; `start` is the folder whose project is meant, by default the
    current one. A project file of another user does not count: `ignored` gets its path. Raises ConfigError: a file
    cannot be read or is not TOML, or --config and --no-config are both given.
    """
    if named and none:
        raise ConfigError("--config and --no-config exclude each other", "give one of them")
    if none:
        return []
    off = "RERANK_NO_CONFIG" in env and said(env, "RERANK_NO_CONFIG")
    explicit = named or (None if off else env.get("RERANK_CONFIG") or None)
    found = [read_file(expanded(explicit), Role.EXPLICIT)] if explicit else []
    if off:
        return found
    project, user = project_file(start), user_file(env)
    if os.path.lexists(user):
        found.append(read_file(user, Role.USER))
    if project and not any(same(project, file.path) for file in found):
        if not is_own(project, env):
            ignored(project)
            return found
        found.insert(1 if explicit else 0, read_file(project, Role.PROJECT))
    return found


def expanded(path: str) -> Path:
    """A path with `~` replaced; unlike Path.expanduser it leaves the name of an unknown user as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def one_line(text: str) -> str:
    """A key or value for a message: one line of at most eighty characters."""
    return shown(text, 80)


def said(env: Mapping[str, str], name: str) -> bool:
    """Whether a variable says yes."""
    return env.get(name, "").lower() not in {"", "0", "false", "no", "off"}


def same(one: Path, other: Path) -> bool:
    """Whether two paths are one file: a project in the user's configuration folder is not less trusted for it."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def is_own(path: Path, env: Mapping[str, str]) -> bool:
    """Whether a file, and the link that it may be, belongs to the user who runs this, as with git's safe.directory.

    Under `sudo` that is also the user who called it. Windows keeps no such owner: there every file counts.
    """
    if not hasattr(os, "geteuid"):
        return True
    users = {os.geteuid()}
    caller = env.get("SUDO_UID", "")
    if users == {0} and caller.isascii() and caller.isdigit() and len(caller) < 12:
        users.add(int(caller))
    try:
        return {path.lstat().st_uid, path.stat().st_uid} <= users
    except OSError:  # gone, or out of reach
        return False


def user_file(env: Mapping[str, str]) -> Path:
    """The user's own file, where platformdirs puts it.

    On Linux its rule is two lines and asking it costs 5 to 10 ms, a tenth of a short run; elsewhere it is asked.
    """
    if sys.platform in {"darwin", "win32"}:
        from platformdirs import user_config_path

        return user_config_path("rerank", appauthor=False) / NAME
    base = env.get("XDG_CONFIG_HOME", "").strip()
    home = Path(env.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 never raises, unlike Path.home
    return (Path(base) if base else home / ".config") / "rerank" / NAME


def project_file(start: Path | None = None) -> Path | None:
    """The first `rerank.toml` from the current folder up to the repository's root (it holds `.git`) or `/`."""
    try:
        here = (start or Path.cwd()).absolute()
    except OSError:  # the current folder is gone
        return None
    for folder in (here, *here.parents):
        if os.path.isfile(folder / NAME):  # noqa: PTH113 unlike Path.is_file it is False where we may not look
            return folder / NAME
        if os.path.lexists(folder / ".git"):
            return None
    return None


def read_file(path: Path, role: Role) -> ConfigFile:
    """Read one file. Raises ConfigError with the place where TOML says it."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(LARGEST + 1)
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else reason_of(error)
        raise ConfigError(
            f"cannot read the configuration {path}: {what}", f"`ls {shlex.quote(str(path.parent))}` shows what is there"
        ) from None
    if len(raw) > LARGEST:
        raise ConfigError(
            f"{path}: larger than {LARGEST >> 20} MiB: is it a configuration file?", "leave it out, or name another"
        )
    return ConfigFile(path, role, parse(raw, path))


def parse(raw: bytes, path: Path) -> dict[str, Any]:
    """The bytes of a file as TOML. Raises ConfigError."""
    import tomllib

    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 (byte {error.start})", "convert it with iconv") from None
    except RecursionError:
        raise ConfigError(f"{path}: nested too deeply", "tables are at most two deep") from None
    except ValueError as error:  # TOMLDecodeError, and what int() and datetime say of absurd literals
        hint = 'strings need quotes, as in model = "builtin"'
        raise ConfigError(f"{path}: not valid TOML: {on_one_line(str(error))}", hint) from None
