"""
Which values are not recorded: those under names that look like secrets, whole parts of a run, what `redact` removes.

The values are copied in `clew.runs._tree.kept.copier`, and pass the hook in `clew.runs._tree.kept.payloads`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Callable, Collection, Dict, FrozenSet, List, Mapping, Optional, Pattern, Sequence, Tuple, Union

from clew.context._stepping.kinds import is_plain_function
from clew.errors import ArgumentTypeError, ArgumentValueError

__all__ = (
    "HIDDEN",
    "HiddenNames",
    "check_redacted",
    "checked_names",
    "checked_redact",
    "hidden_places",
    "hide_in_text",
    "hiding",
)

HIDDEN = "<hidden>"

# The guide "What is recorded" shows these as a table. A name is hidden if its last words are one of them.
_SECRET_NAMES = (
    *("password", "passwd", "passphrase", "passcode", "pwd", "db pass", "user pass", "smtp pass"),
    *("secret", "credential", "cred", "authorization", "authorisation", "auth", "bearer", "jwt", "otp", "totp"),
    *("cookie", "csrf", "xsrf", "session id", "sessid", "connect sid"),
    *("api key", "app key", "access key", "access key id", "account key", "admin key", "auth key", "client key"),
    *("deploy key", "encryption key", "functions key", "hmac key", "license key", "master key", "private key"),
    *("secret key", "service key", "session key", "shared key", "signing key", "ssh key", "subscription key"),
    *("anthropic key", "azure key", "openai key", "stripe key"),
    *("connection string", "recovery code", "seed phrase"),
)
# A name that ends with "token" is hidden too, but for the tokens of models and of pages.
_TOKEN = "token"  # noqa: S105  no secret
_PLAIN_TOKENS = frozenset(
    "audio bos byte cached cls completion continuation draft end eos first generated image input last mask max min "  # noqa: SIM905  shorter
    "model new next num output pad page pagination per predicted prev previous prompt reasoning sampled sep special "
    "start stop sub text thinking total unk unknown vocab word".split()
)
# "tokens" are counted or listed, except for these.
_SECRET_TOKENS = frozenset(("access", "api", "auth", "bearer", "csrf", "oauth", "refresh", "secret", "xsrf"))
# These may follow: a password_hash is a secret, a password_policy is none.
_TRAILING = frozenset(
    "again b base bytes confirm confirmation current decoded digest encoded encrypted hash hashed header hex jar new "  # noqa: SIM905  shorter
    "old pem plain plaintext raw repeat str string text value".split()
)
# "has_password" is a yes or no.
_FLAGS = frozenset(("has", "is", "needs", "requires"))


@lru_cache(maxsize=None)
def _pattern(text: str) -> Pattern[str]:
    # Compiled when first needed: this takes longer than to load the module.
    return re.compile(text, re.DOTALL)


_NOT_IN_WORDS = r"[\W_]+"
_HUMP = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
# For `str.translate`: what is in no word, in ASCII.
_REMOVED = dict.fromkeys([*range(ord("A")), *range(ord("Z") + 1, ord("a")), *range(ord("z") + 1, 128)])
# Names at least so long are also found at the end of a longer word, as in "clientsecret".
_LONG = 6

# So many names are remembered, and so many characters at the end of a name are looked at.
_MOST_KNOWN = 4_096
_MOST_CHARS = 64


def _words_of(name: str) -> List[str]:
    spaced = _pattern(_HUMP).sub(" ", _pattern(_NOT_IN_WORDS).sub(" ", name))
    words = [word.rstrip("0123456789").lower() for word in spaced.split()]
    return [word for word in words if word]


class HiddenNames(Dict[str, bool]):
    """
    Whether the value under a name is hidden: ``names[name]``. The dict is a bounded cache of the answers.
    """

    __slots__ = ("_endings", "_is_all", "_long", "_short", "_shown")

    def __init__(self, names: Collection[str] = (), *, is_default: bool = True) -> None:
        super().__init__()
        added = [name for name in names if not name.startswith("-")]
        self._is_all = is_default and "-*" not in names
        joined = {"".join(_words_of(name)) for name in added}
        if self._is_all:
            joined.update([name.replace(" ", "") for name in _SECRET_NAMES])
        self._long: Tuple[str, ...] = tuple(word for word in joined if len(word) >= _LONG)
        self._short: FrozenSet[str] = frozenset(word for word in joined if len(word) < _LONG)
        self._shown = frozenset("".join(_words_of(name)) for name in names if name.startswith("-"))
        # The last two letters of all hidden names. Most other names end otherwise, and need no closer look.
        singular = (*joined, _TOKEN) if self._is_all else joined
        self._endings = frozenset(
            word[-2:] for word in (*singular, *[f"{word}s" for word in singular], *(_TRAILING if joined else ()))
        )

    def __missing__(self, name: str) -> bool:
        end = name[-_MOST_CHARS:]
        may_be = not end.isascii() or end.lower().translate(_REMOVED)[-2:] in self._endings
        found = may_be and self._is_secret(_words_of(end))
        if end is name:
            if len(self) >= _MOST_KNOWN:
                self.clear()
            self[name] = found
        return found

    def _is_secret(self, words: List[str]) -> bool:
        if not words or "".join(words) in self._shown or (self._is_all and words[0] in _FLAGS):
            return False
        while True:
            if self._ends_secret(words):
                return True
            if len(words) == 1 or words[-1] not in _TRAILING:
                return False
            words = words[:-1]

    def _ends_secret(self, words: List[str]) -> bool:
        last = words[-1]
        if self._is_all:
            for ending in (_TOKEN, f"{_TOKEN}s"):
                if last.endswith(ending):
                    before = last[: -len(ending)] or (words[-2] if len(words) > 1 else "")
                    return before not in _PLAIN_TOKENS if ending is _TOKEN else before in _SECRET_TOKENS
        for ending in ("", "s"):
            if last.endswith(ending):
                one = [*words[:-1], last[: len(last) - len(ending)]]
                if "".join(one).endswith(self._long) or any("".join(one[-n:]) in self._short for n in (1, 2)):
                    return True
        return False


# A name and its value in the `repr` of an object: name='value', 'name': 'value' or ('name', 'value'). Names are bounded
# and begin where no name goes on, so that the work is linear.
_NAME = r"""(?<![\w.-])([\w.-]{1,64})(?:\s*=\s*|['"]\s*[:,]\s*|:\s*)"""
_VALUE = r"""b?'(?:[^'\\]|\\.)*'?|b?"(?:[^"\\]|\\.)*"?|(?:Basic|Bearer)\s+[^\s,)}\]]+|[^\s,)}\]]+"""
_OPENS = r"[\w.<]*[\[({<]"


def hide_in_text(text: str) -> str:
    """
    Return the `repr` of an object without the values under names that look like secrets.

    Where such a value is not simple, the text ends: nothing tells where the value does.
    """
    if not ("=" in text or ":" in text or "," in text):
        return text
    names = hiding.names
    parts: List[str] = []
    end = 0
    for name in _pattern(_NAME).finditer(text):
        value = _pattern(_VALUE).match(text, name.end()) if name.start() >= end and names[name[1]] else None
        if value is not None:
            parts += (text[end : value.start()], HIDDEN)
            end = value.end()
            if _pattern(_OPENS).match(value[0]):
                return "".join((*parts, "..."))
    return "".join((*parts, text[end:])) if parts else text


def hidden_places(kind: type, items: Sequence[Any]) -> Collection[int]:
    """
    Return the places of the items that are hidden in a sequence of that type.

    These are the fields of a named tuple, and the second of two items if the first one is a name: a header.
    """
    names = hiding.names
    if len(items) == 2 and (kind is tuple or kind is list):
        name = items[0]
        if type(name) is bytes and len(name) <= _MOST_CHARS:
            name = name.decode("latin-1")
        return (1,) if type(name) is str and len(name) <= _MOST_CHARS and names[name] else ()
    fields = getattr(kind, "_fields", None) if issubclass(kind, tuple) else None
    if not isinstance(fields, tuple):
        return ()
    return [place for place, name in enumerate(fields) if type(name) is str and names[name]]


Redact = Callable[[Any, str], Any]


class Hiding:
    """
    What `clew.configure` has set about values that are not recorded.
    """

    __slots__ = ("_listeners", "changes", "inputs", "metadata", "names", "outputs", "redact")

    def __init__(self) -> None:
        self.names = HiddenNames()
        self.inputs = False
        self.outputs = False
        self.metadata = False
        self.redact: Optional[Redact] = None
        self.changes = 0  # counted
        self._listeners: Tuple[Callable[[], object], ...] = ()

    def call_after_change(self, listener: Callable[[], object]) -> None:
        """
        Call `listener` after each change.
        """
        self._listeners = (*self._listeners, listener)

    def change(self, changes: Mapping[str, Any]) -> None:
        """
        Set some of the attributes.
        """
        for name, value in changes.items():
            setattr(self, name, value)
        self.changes += 1
        for listener in self._listeners:
            listener()


hiding: Hiding = Hiding()


def checked_names(hide: Any) -> HiddenNames:
    """
    Return the names that ``hide=`` stands for, or raise.
    """
    if isinstance(hide, bool):
        return HiddenNames(is_default=hide)
    if isinstance(hide, (str, bytes, Mapping)) or not isinstance(hide, Collection):
        raise ArgumentTypeError(
            f"expected hide as a list of names, True or False, got {hide!r}; pass a list, such as ['iban']"
        )
    default = HiddenNames()
    for name in hide:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"expected the names in hide as strings, got {name!r}; pass {str(name)!r}")
        if name == "-*":
            continue
        plain = name[1:] if name.startswith("-") else name
        if not _words_of(plain) or re.search(r"[^\w .-]", plain):
            raise ArgumentValueError(
                f"expected a name of letters, digits, '_', '-' and '.' in hide, got {name!r}; "
                f"pass the name of a parameter, key or field: it also hides names that end with it"
            )
        if name.startswith("-") and not default[plain]:
            raise ArgumentValueError(
                f"expected a name that is hidden by default after '-' in hide, got the unknown name {name!r}; "
                f"leave it out, or look for a typo"
            )
    return HiddenNames(tuple(hide))


# What `redact` gets when it is tried, by the part of a run.
_SAMPLES: Dict[str, Union[str, Dict[str, Any]]] = {
    "inputs": {"example": "text"},
    "outputs": {"output": "text"},
    "metadata": {"example": "text"},
    "event": {"name": "example", "time_ns": 0},
    "error": "ExampleError: text\n",
}


def checked_redact(redact: Any) -> Redact:
    """
    Return ``redact=`` once it has taken an example of each part of a run, or raise.
    """
    if not is_plain_function(redact):
        raise ArgumentTypeError(
            f"expected redact as a plain function, got {redact!r}; pass one that gets a value and the part of the "
            f"run that it is, such as 'inputs', and returns the value to record"
        )
    for part, sample in _SAMPLES.items():
        try:
            found = redact(sample.copy() if isinstance(sample, dict) else sample, part)
        except Exception as error:
            raise ArgumentValueError(
                f"expected redact to take the {part} {sample!r}, found that it raised {error!r}; "
                f"let it return what it does not know as it is"
            ) from error
        check_redacted(found, part)
    checked: Redact = redact
    return checked


def check_redacted(found: object, part: str) -> None:
    """
    Raise if `redact` has returned something else than a dict, or a text for an error.
    """
    if not isinstance(found, str if part == "error" else Mapping):
        raise ArgumentTypeError(
            f"expected redact to return {'a string' if part == 'error' else 'a dict'} for the part {part!r}, "
            f"got {type(found).__name__}; return the value to record"
        )
