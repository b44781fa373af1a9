"""
What is hidden: values under names that look like secrets, parts of runs that are switched off, and `redact`.
"""

from __future__ import annotations

import argparse
import asyncio
import collections.abc
import functools
import gc
import logging
import os
import re
import subprocess
import sys
from collections import UserDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, NamedTuple, Tuple

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.exporters.configuration import configure_from_environment
from clew.exporters.jsonl import JSONLinesExporter
from clew.runs._tree import recipe
from clew.runs._tree.kept import hiding as hiding_module
from clew.runs._tree.kept.copier import MAX_ITEMS, copy_value
from clew.runs._tree.kept.hiding import HIDDEN, HiddenNames, hide_in_text, hiding
from tests.edges._threads import DEADLINE

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def as_it_was(settings_as_they_were: None) -> Iterator[None]:
    yield
    clew.shutdown(DEADLINE)


def everything(runs: clew.Recording) -> str:
    return runs.to_json() + repr([run.inputs for run in runs])


# names

SECRETS = """
    password PASSWORD db_password userPassword passwords password1 password_hash passwordConfirm PGPASSWORD
    passwd pwd MYSQL_PWD passphrase secret client_secret clientSecret clientsecret SECRET_KEY
    AWS_SECRET_ACCESS_KEY SECRET_KEY_BASE AWS_ACCESS_KEY_ID secrets token access_token accessToken ACCESS_TOKEN
    refreshToken id_token csrf_token X-Auth-Token sessionToken access_tokens GITHUB_TOKEN Authorization
    Proxy-Authorization auth basic_auth bearer jwt cookie cookies Set-Cookie set_cookie cookie_jar api_key
    apiKey apikey API_KEY X-Api-Key OPENAI_API_KEY openaiApiKey APIKey private_key privateKey credentials creds
    session_id JSESSIONID sessionid connect.sid encryption_key otp connection_string
""".split()  # noqa: SIM905  shorter
NO_SECRETS = """
    tokens max_tokens maxTokens token_count tokenCount new_token completion_tokens completionTokens tokenizer
    tokenize cookie_policy author authors authority token_type total_tokens token_usage eos_token pad_token_id
    nextPageToken cost_per_token time_to_first_token input_token_details key keys public_key primary_key
    password_policy has_password is_secret secret_name api_key_name secretary passenger pass compass keyboard
    monkey oauth session thread_id 1 _
""".split()  # noqa: SIM905  shorter


@pytest.mark.parametrize("name", SECRETS)
def test_name_of_a_secret_is_hidden_in_every_spelling(name: str) -> None:
    assert copy_value({name: SECRET}) == {name: HIDDEN}
    assert copy_value([{"a": ({name: [SECRET]},)}]) == [{"a": [{name: HIDDEN}]}]


@pytest.mark.parametrize("name", NO_SECRETS)
def test_name_that_only_resembles_one_is_shown(name: str) -> None:
    assert copy_value({name: 5}) == {name: 5}


def test_names_are_remembered_within_bounds() -> None:
    names = HiddenNames()
    for number in range(3 * hiding_module._MOST_KNOWN):
        assert not names[f"key {number} of many"]
    assert names["x" * 100_000 + "_password"]
    assert len(names) <= hiding_module._MOST_KNOWN
    assert max(map(len, names)) <= hiding_module._MOST_CHARS


# where names are


@dataclass
class Login:
    user: str
    password: str


class Named(NamedTuple):
    user: str
    password: str


Untyped = namedtuple("Untyped", "password user")  # noqa: PYI024  one of each kind


class Model:
    def model_dump(self) -> Dict[str, Any]:
        return {"user": "ada", "nested": {"api_key": SECRET}}


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (Login("ada", SECRET), {"user": "ada", "password": HIDDEN}),
        (Named("ada", SECRET), ["ada", HIDDEN]),
        (Untyped(SECRET, "ada"), [HIDDEN, "ada"]),
        (Model(), {"user": "ada", "nested": {"api_key": HIDDEN}}),
        (UserDict(token=SECRET), {"token": HIDDEN}),
        (MappingProxyType({"token": SECRET}), {"token": HIDDEN}),
        ({"token": SECRET}.items(), [["token", HIDDEN]]),
        ({b"cookie": SECRET}, {"b'cookie'": HIDDEN}),
        ([(b"authorization", SECRET.encode()), ("accept", "*/*")], [["b'authorization'", HIDDEN], ["accept", "*/*"]]),
        (argparse.Namespace(user="ada", password=SECRET), f"Namespace(user='ada', password={HIDDEN})"),
        (ValueError({"password": SECRET, "n": 1}), f"ValueError({{'password': {HIDDEN}, 'n': 1}})"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_secret_is_hidden_wherever_it_has_a_name(value: Any, recorded: Any) -> None:
    assert copy_value(value) == recorded


def test_secret_beyond_the_fields_that_are_copied_does_no_harm() -> None:
    fields = [f"field{number}" for number in range(MAX_ITEMS + 1)] + ["password"]
    wide: Any = namedtuple("wide", fields)  # type: ignore[misc]  # noqa: PYI024  the names are made here
    assert copy_value(wide(*fields)) == [*fields[:MAX_ITEMS], f"<cut: {len(fields)} items>"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Client(token='a\\'b', n=1)", f"Client(token={HIDDEN}, n=1)"),
        ("a={'token': \"x\"}", f"a={{'token': {HIDDEN}}}"),
        ("Headers([('authorization', 'Bearer x'), ('a', 'b')])", f"Headers([('authorization', {HIDDEN}), ('a', 'b')])"),
        ("Authorization: Bearer x, n=1", f"Authorization: {HIDDEN}, n=1"),
        ("Client(credentials=Credentials(user='a', b='c'), n=1)", f"Client(credentials={HIDDEN}..."),
        ("<Client tokens=5>", "<Client tokens=5>"),
        ("<Color.RED: 1>", "<Color.RED: 1>"),
        ("no names", "no names"),
    ],
)
def test_secret_is_hidden_in_the_repr_of_an_object(text: str, shown: str) -> None:
    assert hide_in_text(text) == shown


def test_parameter_with_the_name_of_a_secret_is_hidden() -> None:
    @clew.traceable
    def log_in(user: str, password: str, *tokens: int, api_key: str = SECRET, **credentials: str) -> None:
        pass

    with clew.record() as runs:
        log_in("ada", SECRET, 1, 2, more=SECRET)
    assert runs.roots[0].inputs == {
        "user": "ada",
        "password": HIDDEN,
        "tokens": [1, 2],
        "api_key": HIDDEN,
        "more": HIDDEN,
    }


def test_secret_is_hidden_by_whichever_way_it_comes_into_a_run() -> None:
    secret = {"token": SECRET}

    @clew.traceable(metadata=secret, process_inputs=dict, process_outputs=lambda _: secret)
    def call(run_tree: clew.RunTree, **kwargs: Any) -> None:
        run_tree.add_metadata({"b": secret})
        run_tree.metadata["token"] = SECRET
        run_tree.metadata |= {"api_key": SECRET}  # type: ignore[operator]  # 3.9+ in the hints of dict
        run_tree.add_event({"name": "e", **secret})
        run_tree.add_inputs(secret)
        run_tree.add_outputs(secret)

    @clew.traceable
    def stream() -> Iterator[Any]:
        yield secret
        yield [secret]

    with clew.record() as runs:
        call(**secret, langsmith_extra={"metadata": {"password": SECRET}})  # type: ignore[call-arg]
        list(stream())
        with clew.trace("block", inputs=secret, metadata=secret) as run:
            run.set(inputs=secret, outputs=secret, metadata=secret)
            run.end(outputs={"a": secret}, metadata={"b": secret}, events=[{"name": "e", **secret}])
        made = clew.RunTree("made", inputs=secret, outputs=secret, metadata=secret, events=[{"name": "e", **secret}])
        made.post()
        child = made.create_child("child", inputs=secret, metadata=secret)
        child.post()
        child.end(outputs=secret)
        made.end()
        with clew.tracing_context(metadata=secret), clew.trace("below"):
            headers = clew.get_current_headers()
        received = {**headers, "baggage": 'langsmith-metadata={"token":"hunter2"}'}
        with clew.tracing_context(parent=received), clew.trace("received"):
            pass
    assert SECRET not in everything(runs)
    assert HIDDEN in runs.to_json()
    assert SECRET not in repr(headers)
    assert runs.find(name="call").status == "success"


def test_metadata_keeps_the_session_by_which_langsmith_groups_runs() -> None:
    with clew.record() as runs, clew.trace("chat", metadata={"session_id": "s1"}, inputs={"session_id": "s1"}) as run:
        run.metadata["session_id"] = "s2"
    assert runs.roots[0].metadata == {"session_id": "s2"}
    assert runs.roots[0].inputs == {"session_id": HIDDEN}


def test_what_a_run_returns_cannot_be_changed_past_what_hides() -> None:
    given = {"a": {"b": [1]}}
    with clew.record() as runs, clew.trace("block", inputs=given) as run:
        run.add_outputs(given)
        run.add_event({"name": "e", **given})
        for found in (run.inputs, run.outputs, run.events[0]):
            assert found is not None
            found["a"]["password"] = SECRET
            found["a"]["b"].append(SECRET)
    assert SECRET not in everything(runs)
    assert (run.inputs, run.outputs) == (given, given)


# arguments without names


def with_database(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return fn("a database", *args, **kwargs)

    return inner


@pytest.mark.parametrize("hides", [True, False], ids=["process_inputs", "by name"])
def test_arguments_that_fit_no_parameters_are_not_recorded_in_clear(hides: bool) -> None:
    options: Dict[str, Any] = {"process_inputs": lambda inputs: inputs} if hides else {}

    @clew.traceable(**options)
    @with_database
    def log_in(database: str, user: str, password: str) -> str:
        return database

    with clew.record() as runs:
        log_in("ada", SECRET)
        log_in(user="ada", password=SECRET)
    assert [run.status for run in runs] == ["success"] * 2
    assert SECRET not in everything(runs)
    for run in runs:
        assert ("clew.dropped" in run.inputs) == hides


def test_process_inputs_of_a_function_without_signature_gets_nothing() -> None:
    seen: List[Any] = []
    traced = clew.traceable(process_inputs=lambda inputs: seen.append(inputs) or {}, name="max")(max)
    with clew.record() as runs:
        assert traced(1, 2) == 2
    assert seen == []
    assert list(runs.roots[0].inputs) == ["clew.dropped"]


def test_process_outputs_is_not_given_items_where_reduce_fn_failed() -> None:
    def total(chunks: List[Any]) -> Any:
        raise ValueError(SECRET)

    @clew.traceable(reduce_fn=total, process_outputs=lambda value: {"output": value})
    def stream() -> Iterator[str]:
        yield SECRET

    with clew.record() as runs:
        list(stream())
    assert runs.roots[0].outputs == {"clew.dropped": "reduce_fn raised ValueError"}


def test_log_of_a_hook_that_fails_has_no_value(caplog: pytest.LogCaptureFixture) -> None:
    def fail(value: Any) -> Any:
        raise ValueError(f"cannot hide {value!r}")

    @clew.traceable(process_inputs=fail, process_outputs=fail)
    def call(value: str) -> str:
        return value

    with caplog.at_level(logging.WARNING, logger="clew"), clew.record() as runs:
        call(SECRET)
    assert SECRET not in everything(runs) + caplog.text


# configure(hide=)


def test_names_that_are_hidden_while_a_call_begins_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    input_reader, changes = recipe.input_reader, ["colour"]

    def input_reader_of_old_names(*args: Any, **options: Any) -> Any:
        reader = input_reader(*args, **options)
        if changes:
            clew.configure(hide=[changes.pop()])  # as another thread may do
        return reader

    @clew.traceable
    def paint(colour: str) -> None:
        """Paint."""

    monkeypatch.setattr(recipe, "input_reader", input_reader_of_old_names)
    with clew.record() as runs:
        paint("red")
    (run,) = runs
    assert (changes, run.inputs) == ([], {"colour": HIDDEN})


async def later(value: Any, part: str) -> Any:
    return value


def test_hide_adds_names_replaces_them_and_is_switched_off() -> None:
    @clew.traceable(metadata={"iban": "DE1", "token": SECRET})
    def pay(iban: str, password: str, tokenId: str) -> Dict[str, str]:
        return {"customer-iban": iban, "token": tokenId}

    def recorded(hide: Any) -> List[str]:
        clew.configure(hide=hide)
        with clew.record() as runs:
            pay("DE1", SECRET, "t")
        run = runs.roots[0]
        values = {**run.inputs, **(run.outputs or {}), "m-iban": run.metadata["iban"], "m-token": run.metadata["token"]}
        return [name for name, value in values.items() if value == HIDDEN]

    assert recorded(True) == ["password", "token", "m-token"]
    assert recorded(["iban"]) == ["iban", "password", "customer-iban", "token", "m-iban", "m-token"]
    assert recorded(("-token", "token_id")) == ["password", "tokenId"]
    assert recorded(["-*", "iban"]) == ["iban", "customer-iban", "m-iban"]
    assert recorded([]) == ["password", "token", "m-token"]
    assert recorded(False) == []
    assert recorded(None) == ["password", "token", "m-token"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"hide": "iban"},
            ArgumentTypeError,
            "expected hide as a list of names, True or False, got 'iban'; pass a list",
        ),
        ({"hide": {"iban": True}}, ArgumentTypeError, "expected hide as a list of names"),
        ({"hide": 3}, ArgumentTypeError, "expected hide as a list of names, True or False, got 3"),
        ({"hide": [3]}, ArgumentTypeError, "expected the names in hide as strings, got 3; pass '3'"),
        ({"hide": ["pass.*"]}, ArgumentValueError, r"expected a name of letters, digits.* got 'pass\.\*'"),
        ({"hide": [""]}, ArgumentValueError, "expected a name of letters, digits"),
        ({"hide": ["-tokne"]}, ArgumentValueError, "got the unknown name '-tokne'; leave it out, or look for a typo"),
        (
            {"hide_inputs": "yes"},
            ArgumentTypeError,
            "expected hide_inputs as True or False, got 'yes'; pass one of them",
        ),
        (
            {"hide_outputs": dict},
            ArgumentTypeError,
            "expected hide_outputs as True or False, got .*; pass redact=, which",
        ),
        ({"hide_metadata": 1}, ArgumentTypeError, "expected hide_metadata as True or False, got 1"),
        ({"redact": "x"}, ArgumentTypeError, "expected redact as a plain function, got 'x'"),
        (
            {"redact": lambda value: value},
            ArgumentValueError,
            "expected redact to take the inputs .* it raised TypeError",
        ),
        ({"redact": lambda value, part: None}, ArgumentTypeError, "return a dict for the part 'inputs', got NoneType"),
        (
            {"redact": lambda value, part: value if isinstance(value, dict) else value["error"]},
            ArgumentValueError,
            "expected redact to take the error 'ExampleError",
        ),
        ({"redact": lambda value, part: dict(value) if part != "error" else {}}, ArgumentTypeError, "return a string"),
    ],
    ids=lambda value: repr(value)[:24] if isinstance(value, dict) and "redact" not in value else "",
)
def test_wrong_option_about_hiding_is_refused_and_changes_nothing(
    options: Dict[str, Any], error: Any, said: str
) -> None:
    before = hiding.names, hiding.inputs, hiding.outputs, hiding.metadata, hiding.redact
    with pytest.raises(error, match=said):
        clew.configure(hide_inputs=options.pop("hide_inputs", True), **options)
    assert (hiding.names, hiding.inputs, hiding.outputs, hiding.metadata, hiding.redact) == before


# whole parts


def use_everything(value: str) -> None:
    @clew.traceable(metadata={"m": value}, process_outputs=lambda result: {"out": result})
    def call(value: str) -> str:
        run = clew.get_current_run_tree()
        assert run is not None
        run.add_metadata({"more": value})
        run.add_inputs({"more": value})
        run.add_outputs({"more": value})
        return value

    @clew.traceable
    async def later(value: str) -> List[str]:
        return [value]

    @clew.traceable(reduce_fn="".join)
    def stream(value: str) -> Iterator[str]:
        yield value

    @clew.traceable
    async def stream_later(value: str) -> AsyncIterator[str]:
        yield value

    async def main() -> None:
        await later(value)
        async for _ in stream_later(value):
            pass

    call(value)
    list(stream(value))
    asyncio.run(main())
    with clew.trace("block", inputs={"a": value}, metadata={"m": value}) as run:
        run.end(outputs={"b": value}, metadata={"n": value})
    made = clew.RunTree("made", inputs={"a": value}, outputs={"b": value}, metadata={"m": value})
    made.post()
    made.end()


def test_hidden_parts_are_in_no_run() -> None:
    clew.configure(hide_inputs=True, hide_outputs=True, hide_metadata=True)
    with clew.record() as runs:
        use_everything("visible")
    assert len(runs) == 6
    assert "visible" not in everything(runs)
    assert {repr((run.inputs, run.outputs, run.metadata)) for run in runs} == {"({}, {}, {})"}
    clew.configure(hide_inputs=None, hide_outputs=None, hide_metadata=None)
    with clew.record() as runs:
        use_everything("visible")
    for part in "inputs", "outputs", "metadata":
        assert sum("visible" in repr(getattr(run, part)) for run in runs) >= 3


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, (False, False, False)),
        ({"CLEW_HIDE_INPUTS": "1", "CLEW_HIDE_METADATA": "yes"}, (True, False, True)),
        ({"LANGSMITH_HIDE_INPUTS": "true", "LANGCHAIN_HIDE_OUTPUTS": "true"}, (True, True, False)),
        ({"LANGSMITH_HIDE_INPUTS": "false", "LANGCHAIN_HIDE_INPUTS": "true"}, (False, False, False)),
        ({"LANGSMITH_HIDE_INPUTS": " ", "LANGCHAIN_HIDE_INPUTS": "true"}, (True, False, False)),
        ({"LANGSMITH_HIDE_METADATA": "true"}, (False, False, True)),
        ({"CLEW_HIDE_INPUTS": "0", "LANGSMITH_HIDE_INPUTS": "true"}, (False, False, False)),
        ({"CLEW_HIDE_OUTPUTS": "ture"}, (False, True, False)),
    ],
    ids=str,
)
def test_variables_hide_parts(
    monkeypatch: pytest.MonkeyPatch, variables: Dict[str, str], expected: Tuple[bool, ...]
) -> None:
    for whose in "CLEW", "LANGSMITH", "LANGCHAIN":
        for what in "INPUTS", "OUTPUTS", "METADATA":
            monkeypatch.delenv(f"{whose}_HIDE_{what}", raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    configure_from_environment(variables)
    assert (hiding.inputs, hiding.outputs, hiding.metadata) == expected
    clew.configure(hide_inputs=not expected[0], hide_outputs=not expected[1], hide_metadata=not expected[2])
    clew.configure(hide_inputs=None, hide_outputs=None, hide_metadata=None)
    assert (hiding.inputs, hiding.outputs, hiding.metadata) == expected


def test_variable_names_what_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_HIDE", "iban, -token")
    clew.configure(hide=None)
    assert copy_value({"iban": 1, "token": 2, "password": 3}) == {"iban": HIDDEN, "token": 2, "password": HIDDEN}
    configure_from_environment({"CLEW_HIDE": "off"})
    assert copy_value({"password": 3}) == {"password": 3}
    before = clew.stats().get("environment_refused", 0)
    configure_from_environment({"CLEW_HIDE": "1"})
    configure_from_environment({"CLEW_HIDE": "iban,-unknown"})
    assert clew.stats()["environment_refused"] == before + 1
    assert copy_value({"password": 3}) == {"password": HIDDEN}


@pytest.mark.parametrize("variable", ["CLEW_HIDE_INPUTS=1", "LANGCHAIN_HIDE_INPUTS=true", "LANGSMITH_HIDE_INPUTS=true"])
def test_variable_holds_in_a_new_process(variable: str) -> None:
    name, _, text = variable.partition("=")
    program = (
        "import clew\n"
        "with clew.record() as runs, clew.trace('a', inputs={'b': 1}):\n"
        "  pass\n"
        "print(runs.roots[0].inputs)\n"
    )
    environment = {**{key: value for key, value in os.environ.items() if "_HIDE_" not in key}, name: text}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"{}"


# redact


def without_secret(value: Any, part: str) -> Any:
    if isinstance(value, str):
        return value.replace(SECRET, "***")
    if isinstance(value, list):
        return [without_secret(item, part) for item in value]
    if isinstance(value, dict):
        return {key: without_secret(item, part) for key, item in value.items()}
    return value


def test_redact_sees_every_part_before_it_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    parts: List[str] = []

    @clew.traceable(metadata={"function": SECRET})
    def fail(text: str) -> None:
        run = clew.get_current_run_tree()
        assert run is not None
        run.metadata["m"] = SECRET
        run.add_event({"name": "e", "text": SECRET})
        run.add_outputs({"text": SECRET})
        raise KeyError(SECRET)

    def redact(value: Any, part: str) -> Any:
        parts.append(part)
        return without_secret(value, part)

    @clew.traceable
    def stream(text: str) -> Iterator[str]:
        yield text

    clew.configure(exporter=JSONLinesExporter(file), redact=redact)
    parts.clear()
    with clew.record() as runs:
        use_everything(SECRET)
        list(stream(SECRET))
        for each in stream(SECRET):
            assert each == SECRET
            break
        with pytest.raises(KeyError):
            fail(SECRET)
        with clew.trace("block") as block:
            block.error = SECRET
            assert block.error == "***"
        with pytest.raises(ValueError, match=SECRET), clew.trace("raises"):
            raise ValueError(SECRET)
        clew.RunTree("made", error=SECRET).post()
        with clew.tracing_context(metadata={"m": SECRET}), clew.trace("below"):
            headers = clew.get_current_headers()
    assert clew.shutdown(DEADLINE)
    del stream
    gc.collect()
    assert SECRET not in everything(runs) + repr(headers) + file.read_text()
    assert set(parts) == {"inputs", "outputs", "metadata", "event", "error"}
    assert runs.find(name="fail").inputs == {"text": "***"}
    assert runs.find(name="fail").metadata == {"function": "***", "m": "***"}
    error = runs.find(name="fail").error
    assert error is not None
    assert error.startswith("Traceback")
    assert error.endswith("KeyError: '***'\n")


def test_redact_that_fails_lets_nothing_through(caplog: pytest.LogCaptureFixture) -> None:
    is_broken = False

    def redact(value: Any, part: str) -> Any:
        if is_broken:
            raise ValueError(f"cannot redact {value!r}")
        return value

    clew.configure(redact=redact)
    is_broken = True

    def block() -> None:
        with clew.trace("block", inputs={"a": SECRET}, metadata={"m": SECRET}) as run:
            run.add_outputs({"b": SECRET})
            run.add_event({"name": "e", "c": SECRET})
            raise KeyError(SECRET)

    with caplog.at_level(logging.WARNING, logger="clew"), clew.record() as runs, pytest.raises(KeyError):
        block()
    run = runs.roots[0]
    dropped = {"clew.dropped": "redact raised ValueError"}
    assert SECRET not in everything(runs) + caplog.text
    assert (run.inputs, run.outputs, run.metadata) == (dropped, dropped, dropped)
    assert [{**event, "time_ns": 0} for event in run.events] == [{"name": "<dropped>", "time_ns": 0, **dropped}]
    assert run.error == "<dropped: redact raised ValueError>"


@pytest.mark.parametrize("wrong", [None, [], "text", 5], ids=repr)
def test_redact_that_returns_another_type_drops_the_value(wrong: Any) -> None:
    clew.configure(redact=lambda value, part: value if "example" in str(value).lower() or part == "outputs" else wrong)
    with clew.record() as runs, clew.trace("block", inputs={"a": SECRET}):
        pass
    assert runs.roots[0].inputs == {"clew.dropped": "redact raised ArgumentTypeError"}


def test_redact_gets_copies_in_which_secrets_are_hidden_and_its_result_is_copied() -> None:
    seen: List[Any] = []
    kept: Dict[str, Any] = {}

    def redact(value: Any, part: str) -> Any:
        seen.append(value)
        return {**value, "kept": kept} if part == "inputs" else value

    clew.configure(redact=redact)
    seen.clear()
    given = {"password": SECRET, "list": [1]}
    with clew.record() as runs, clew.trace("block", inputs=given):
        pass
    kept["late"] = 1
    given["list"].append(2)  # type: ignore[attr-defined]
    assert seen == [{"password": HIDDEN, "list": [1]}]
    assert runs.roots[0].inputs == {"password": HIDDEN, "list": [1], "kept": {}}


def test_event_whose_name_or_time_is_redacted_to_another_type_gets_them_replaced() -> None:
    clew.configure(redact=lambda value, part: {"name": 5, "time_ns": "x"} if part == "event" else value)
    with clew.record() as runs, clew.trace("work") as run:
        run.add_event("card 1234")
    assert runs.roots[0].events[0]["name"] == "<dropped>"
    assert isinstance(runs.roots[0].events[0]["time_ns"], int)


@pytest.mark.parametrize(
    ("method", "recorded"),
    [
        ("__getitem__", {"metadata": "<Unreadable that cannot be copied: ValueError>"}),
        ("__iter__", {"metadata": "<Unreadable that cannot be copied: ValueError>"}),
        ("__len__", {"a": 1}),
    ],
)
def test_metadata_that_cannot_be_read_becomes_a_marker(method: str, recorded: Dict[str, Any]) -> None:
    def fail(*_: object) -> Any:
        raise ValueError("unreadable")

    methods = {"__getitem__": lambda self, key: 1, "__iter__": lambda self: iter("a"), "__len__": lambda self: 1}
    metadata = type("Unreadable", (collections.abc.Mapping,), {**methods, method: fail})()
    with clew.record() as runs, clew.tracing_context(metadata=metadata):
        with clew.trace("one", metadata=metadata) as one:
            one.add_metadata(metadata)
            one.set(metadata=metadata)
        clew.traceable(lambda: None, name="two")(langsmith_extra={"metadata": metadata})
    assert [run.metadata for run in runs.roots] == [recorded] * 2


def test_redact_holds_for_functions_that_were_traced_before_and_is_taken_back() -> None:
    @clew.traceable(metadata={"m": SECRET})
    def call(text: str) -> str:
        return text

    def recorded() -> str:
        with clew.record() as runs:
            call(SECRET)
        return everything(runs)

    assert SECRET in recorded()
    clew.configure(redact=without_secret)
    assert SECRET not in recorded()
    clew.configure(redact=None)
    assert recorded().count(SECRET) == recorded().count(SECRET) > 2


def test_runs_that_redact_would_make_are_not_recorded() -> None:
    @clew.traceable
    def helper() -> None:
        pass

    clew.configure(redact=lambda value, part: helper() or value)
    with clew.record() as runs, clew.trace("block", inputs={"a": 1}):
        pass
    assert [run.name for run in runs] == ["block"]


# the guide


@pytest.mark.parametrize(("title", "is_hidden"), [("it ends with one of these words:", True), ("are shown:", False)])
def test_tables_of_the_guide_say_what_is_hidden(title: str, is_hidden: bool) -> None:
    guide = (PROJECT / "docs/guides/what-is-recorded.md").read_text(encoding="utf-8")
    table = guide.partition(title)[2].lstrip().partition("\n\n")[0]
    names = re.findall(r"`([^`]+)`", table)
    assert len(names) > 15
    assert [name for name in names if HiddenNames()[name] != is_hidden] == []
    if is_hidden:
        documented = {"".join(hiding_module._words_of(name)) for name in names}
        assert {name.replace(" ", "") for name in hiding_module._SECRET_NAMES} <= documented
