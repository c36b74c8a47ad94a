"""YAML as mbuild reads it: a mapping at the top, plain types, each key once, and no aliases.

PyYAML's safe loader takes the last of two equal keys and follows aliases, which lets a kilobyte grow into gigabytes;
both are refused here. Every problem is raised as ``YamlProblem`` with its line.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_BYTES = 1 << 20


class YamlProblem(ValueError):
    """What is wrong with the text, with the line where it is known."""


class _StrictLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise YamlProblem(f"line {self._line()}: aliases (*name) are not read; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                raise YamlProblem(
                    f"line {line}: the key {getattr(key, 'value', key.id)!r} is not text; put it in quotes"
                )
            if key.value in seen:
                raise YamlProblem(f"line {line}: the key {key.value!r} stands here a second time")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def _line(self) -> int:
        return int(self.peek_event().start_mark.line) + 1  # type: ignore[no-untyped-call]


# 2024-01-01 stays text: a JSON Schema knows no dates, and a version may look like one.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 takes 1e-3 for text, since it wants a point and a sign; YAML 1.2 and JSON read a number, and so do people.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_mapping(content: bytes) -> dict[str, Any]:
    """The mapping at the top of a YAML text; empty for an empty text. Raises YamlProblem."""
    if len(content) > MAX_BYTES:
        raise YamlProblem(f"it has {len(content)} bytes; at most {MAX_BYTES} are read")
    try:
        value = yaml.load(content, Loader=_StrictLoader)  # noqa: S506  (a safe loader, made stricter)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise YamlProblem(f"{line}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise YamlProblem(str(error)) from error
    except RecursionError as error:
        raise YamlProblem("it is nested too deeply") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise YamlProblem("it is not a mapping of keys to values")
    return value
