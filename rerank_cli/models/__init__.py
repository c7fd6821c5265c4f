"""Model references to files and facts: what `-m` names, where its files lie, how its head and its input are to be read.

Configuration files only are opened here; weights are the engines' business. No numerical library is imported.
"""

from rerank_cli.models.facts import BUILTIN, BUILTIN_FOLDER, LocalModel
from rerank_cli.models.reference import LoadPolicy, is_path, require_known, resolve

__all__ = ["BUILTIN", "BUILTIN_FOLDER", "LoadPolicy", "LocalModel", "is_path", "require_known", "resolve"]
