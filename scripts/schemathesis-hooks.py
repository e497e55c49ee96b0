"""What no JSON Schema can say of a body: texts of our formats, and a choice that names one of the tools beside it.

    SCHEMATHESIS_HOOKS=schemathesis_hooks PYTHONPATH=DIR schemathesis run http://127.0.0.1:8471/openapi.json

DIR holds this file as schemathesis_hooks.py.
"""

import schemathesis
from hypothesis import strategies as st

words = st.text(alphabet="abcdef ", min_size=1, max_size=8)

schemathesis.openapi.format(
    "grammar",
    st.one_of(words.map(lambda text: f'root ::= "{text}"'), words.map(lambda text: f'start: "{text}"'), st.just("")),
)
schemathesis.openapi.format("lark", words.map(lambda text: f'start: "{text}"+'))
schemathesis.openapi.format(
    "regular-expression", st.one_of(words, words.map(lambda text: f"({text})+"), st.just("[0-9]{1,3}"))
)
schemathesis.openapi.format(
    "json-schema", st.sampled_from(["true", "{}", '{"type": "object"}', '{"enum": [1, "a"]}', '{"type": "integer"}'])
)


def name_of(tool):
    """The name of a tool in any of the APIs; none: it runs elsewhere."""
    if not isinstance(tool, dict) or tool.get("type", "function") not in ("function", "custom", None):
        return None
    inner = tool.get(tool.get("type") or "", tool)
    return inner.get("name") if isinstance(inner, dict) else None


def renamed(choice, name):
    """The same choice with this name wherever it has one."""
    if isinstance(choice, list):
        return [renamed(one, name) for one in choice]
    if not isinstance(choice, dict):
        return choice
    kept = {key: value for key, value in choice.items() if key != "namespace"}
    return {
        key: name if key == "name" and isinstance(value, str) else renamed(value, name) for key, value in kept.items()
    }


def shortened(value):
    """Texts that fit a context of 1,024: answers are sent again as prompts, and what tokens a text has no schema says."""
    if isinstance(value, str):
        return value[:250]
    if isinstance(value, list):
        return [shortened(one) for one in value]
    return {key: shortened(one) for key, one in value.items()} if isinstance(value, dict) else value


@schemathesis.hook
def before_call(context, case, kwargs):
    """In every phase: made-up bodies of the first one pass the hooks that change bodies by."""
    body = case.body
    if not isinstance(body, dict):
        return
    if max(map(len, map(str, body.values())), default=0) > 250:
        body = shortened(body)
    if isinstance(body.get("tool_choice"), dict):
        tools = body.get("tools")
        names = [name for name in map(name_of, tools if isinstance(tools, list) else []) if isinstance(name, str)]
        if names:
            body = {**body, "tool_choice": renamed(body["tool_choice"], names[0])}
    if body is not case.body:
        case.body = body
