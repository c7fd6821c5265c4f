"""From model references to files and facts: what `-m` names, where its files are, what its input and output mean.

Only configuration files are opened here; engines read weights. No numerical library is imported.
"""

from rerank_cli.models.facts import BUILTIN, BUILTIN_FOLDER, LoadPolicy, LocalModel
from rerank_cli.models.reference import builtin, is_path, require_known, resolve

__all__ = ["BUILTIN", "BUILTIN_FOLDER", "LoadPolicy", "LocalModel", "builtin", "is_path", "require_known", "resolve"]
