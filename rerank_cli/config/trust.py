"""What a project file may say.

It comes with a checkout: whoever wrote that must not choose where documents are sent, which code runs, or which files
are written.
Input, ranking, output and long-document options, and a model by its hub name; nothing that names a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rerank_cli.config.files import one_line
from rerank_cli.errors import ConfigError
from rerank_cli.inside import is_hub_name
from rerank_cli.options import PROJECT_GROUPS

if TYPE_CHECKING:
    from rerank_cli.options import Option

ELSEWHERE = "put it in your user file (`rerank config -v` says where), a file given with --config, RERANK_{}, or a flag"


def refuse_untrusted(where: str, option: Option, value: Any) -> None:
    """Check one option of a project file. Raises ConfigError with the reason and where it may stand."""
    elsewhere = ELSEWHERE.format(option.name.upper())
    if option.name in {"model", "fallback"}:
        plain = {"builtin", "passthrough"} if option.name == "fallback" else {"builtin"}
        wrong = next((name for name in ([value] if isinstance(value, str) else value) if not is_plain(name, plain)), "")
        if wrong:
            message = f"{where}: a project file may choose `builtin` or a Hugging Face name, not `{one_line(wrong)}`"
            raise ConfigError(message, elsewhere)
    elif option.group not in PROJECT_GROUPS:
        raise ConfigError(f"{where}: {reason(option)}, so a project file may not set it", elsewhere)
    elif option.names_path:
        raise ConfigError(f"{where}: a project file may not name files", elsewhere)


def is_plain(reference: str, plain: set[str]) -> bool:
    """Whether a model is named without a path or an endpoint."""
    return reference in plain or is_hub_name(reference)


def refuse_table(where: str, name: str) -> None:
    """`[endpoints]` and `[prices]` of a project file. Raises ConfigError."""
    what = "endpoints decide where documents and keys go" if name == "endpoints" else "prices belong to endpoints"
    hint = "put the table in your user file (`rerank config -v` says where) or a file given with --config"
    raise ConfigError(f"{where}: {what}, so a project file may not set them", hint)


def reason(option: Option) -> str:
    """Why an option is refused, in the user's terms."""
    if option.name in {"trust_remote_code", "allow_pickle"}:
        return "it lets a model run code"
    if option.group == "Remote endpoints":
        return "it decides where documents and keys go"
    if option.group == "Score cache":
        return "it decides which files are written"
    return "it is not an input, ranking or output option"
