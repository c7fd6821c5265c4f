"""What is known of a model on disk: frozen records, no reading, no running.

A `LocalModel` says everything a scorer must know and nothing of how to run it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rerank_cli.records import LOG_ODDS

if TYPE_CHECKING:
    from rerank_cli.settings import ModelSettings

BUILTIN = "builtin"
BUILTIN_FOLDER = Path(__file__).parent.parent / "builtin"

Family = Literal["classification", "decoder", "modules", "seq2seq", "late-interaction", "embedding"]
YES_LOGIT = "logit of the yes token"  # the scale of a decoder's score where no `no` token is subtracted


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """Where a model may be loaded from, and what its files may do."""

    offline: bool = False
    require_revision: bool = False
    trust_remote_code: bool = False
    allow_pickle: bool = False
    backend: str = "auto"
    load_as: str = "auto"
    endpoints: tuple[str, ...] = ()  # names that are not models, for the hint about a misspelt one
    converted: bool = True  # use the graphs of a converted copy
    template: str | None = None  # of the table or a file; it overrides what is recognised

    @staticmethod
    def of(settings: ModelSettings) -> LoadPolicy:
        """The part of the settings that is about files."""
        names = ("offline", "require_revision", "trust_remote_code", "allow_pickle", "backend", "template", "load_as")
        own = {name: getattr(settings, name) for name in names}
        return LoadPolicy(**own, endpoints=tuple(settings.remote.endpoints))


@dataclass(frozen=True, slots=True)
class Module:
    """One step of a sentence-transformers repository after its transformer: kind, settings, weights if it has any."""

    kind: str  # Pooling | Dense | LayerNorm | Normalize | Dropout | LogitScore
    config: dict[str, Any]
    weights: Path | None = None


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat template with the roles `query` and `document` (and `system` for an instruction), not yet rendered.

    `text` is Jinja source for `kind` "jinja"; for "plain" it is text with the marks of `models.templates`, which is how
    a converted copy keeps a rendered template, so that scoring needs no template engine.
    """

    kind: Literal["jinja", "plain"]
    text: str
    instructed: str | None = None  # the plain text when an instruction is given; None: it takes none
    structured: bool = False  # message contents are lists of parts
    tokens: dict[str, str] = field(default_factory=dict)  # bos_token and its like, as templates name them
    options: dict[str, Any] = field(default_factory=dict)  # what the repository passes to its template
    answers: tuple[str | int, ...] = ()  # `yes`, then `no` if it counts, as text or id; none: the repository's own
    scale: str = ""  # of the score, where the template says it
    name: str = ""  # of the built-in template


@dataclass(frozen=True, slots=True)
class TextEncoding:
    """How a query, or a document, becomes an input of a model that encodes the two apart.

    An input is the tokenizer's template for one text, around the prompt and the text, with at most `max_tokens` tokens.
    """

    max_tokens: int
    prompt: str = ""  # text before every text
    marker: str = ""  # a token that is inserted after the first one; "": none
    filler: str = ""  # the token that shorter inputs are filled up with
    fill_to: int = 0  # tokens; 0: inputs are not filled up
    attends: bool = False  # the model attends to the filler
    skipped: tuple[str, ...] = ()  # tokens whose vectors are left out


@dataclass(frozen=True, slots=True)
class Encodings:
    """A model that encodes query and document apart, and how their vectors are compared."""

    query: TextEncoding
    document: TextEncoding
    similarity: str  # maxsim | meanmaxsim | cosine | dot: also the scale of its scores
    normalized: bool = True  # vectors are scaled to length one before they are compared


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on disk. Paths are absolute or relative to the working directory; none is opened by this record."""

    name: str
    folder: Path
    tokenizer: Path
    graphs: dict[str, Path]  # form (fp32, int8, weight-only, ir) -> ONNX or IR file that gives logits; may be empty
    max_tokens: int  # of a whole input: specials, query and document
    window: int | None = None  # document tokens of a window; None: all that fit
    labels: int = 1
    positive: int = 0  # index of the relevant label when there are two
    scale: str = LOG_ODDS
    pad_id: int = 0
    revision: str | None = None
    english_only: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    family: Family = "classification"
    weights: tuple[Path, ...] = ()  # torch weights of the transformer: safetensors, or .bin where pickle is allowed
    transformer: Path | None = None  # folder of the transformer's own config and weights; None: `folder`
    modules: tuple[Module, ...] = ()  # what follows the transformer in a module repository
    chat: Chat | None = None  # None: query and document are joined by the tokenizer's pair template
    # Tokens (relevant, other) of a seq2seq model's answer: the first pair that the tokenizer has; None: a bare logit.
    answers: tuple[tuple[str, str | None], ...] = ()
    instruction: str | None = None  # the repository's own default instruction
    lower_case: bool = False  # the repository asks for lower-casing in addition to its tokenizer
    token_types: bool = True  # the model gets segment ids
    remote_code: bool = False  # needs code from the repository, and the user allowed it
    converted: dict[str, str] = field(default_factory=dict)  # form -> digest, for graphs that `models convert` made
    encodings: Encodings | None = None  # None: the model reads query and document together
    notes: tuple[str, ...] = ()  # for the user, about how the model was loaded
    template: str | None = None  # as the user named it, if the prompt is not the repository's own

    @property
    def left_padded(self) -> bool:
        """Decoders take their answer from the last position, so padding comes before the text."""
        return self.family == "decoder"
