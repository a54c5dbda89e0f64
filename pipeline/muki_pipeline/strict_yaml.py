"""YAML 1.2, as DVC reads and writes it, without its traps."""

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

__all__ = ["YAMLError", "read", "write"]

_PLAIN = re.compile(r"[^\W\d_](?:[\w./@+-]|:(?=[\w/.]))*(?: [\w./@+-]+)*")
"""Strings that no version of YAML takes for anything else, but for these words:"""
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


class _WithoutAliases(Composer):
    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node unless it refers to another one: a few lines cannot become gigabytes."""
        if self.parser.check_event(AliasEvent):
            raise ComposerError(problem="aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def read(text: str) -> Any:
    """The content of a document; `no` and `12:30` are texts, and no key occurs twice.

    Raises:
        YAMLError: It is not valid YAML, a key occurs twice, a value is none of its kind (the 30th of February), or
            something refers to something else.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _WithoutAliases
    try:
        return reader.load(text)
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YAMLError(f"{line}{error.problem}") from None
    except (ValueError, KeyError) as error:  # which is how ruamel says it, without the place
        raise YAMLError(f"a value is none of its kind: {error}") from None
    except RecursionError:
        raise YAMLError("it is nested too deeply") from None


def write(content: Mapping[str, Any]) -> str:
    """A document. Strings that some version of YAML could take for something else are quoted, on one line each."""
    writer = YAML()
    writer.width = 1 << 20
    writer.indent(mapping=2, sequence=4, offset=2)
    text = StringIO()
    writer.dump(_quoted(content), text)
    return text.getvalue()


def _quoted(value: Any) -> Any:
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return str(value) if is_plain else DoubleQuotedScalarString(value)
    if isinstance(value, Mapping):
        return {_quoted(key): _quoted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_quoted(inner) for inner in value]
    return value
