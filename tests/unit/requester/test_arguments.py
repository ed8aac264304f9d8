"""DATA on the command line: what each form means, and one clear line for anything else."""

import io
from pathlib import Path
from typing import Any

import msgpack
import pytest
from taskferry.requester.arguments import INPUT_SIZE_BYTES_MAX, DataError, data_from

from tests.each_case import each_case


@each_case(
    ("words", "data"),
    [
        ([], {}),
        (['{"a": [1, null]}'], {"a": [1, None]}),
        (["3"], 3),
        (["null"], None),
        (['"a=b"'], "a=b"),
        (["message=Hello World"], {"message": "Hello World"}),
        (["n=3", "f=1.5", "yes=true", "none=null"], {"n": 3, "f": 1.5, "yes": True, "none": None}),
        (['list=[1,"2"]', 'text="3"', "empty="], {"list": [1, "2"], "text": "3", "empty": ""}),
        (["url=http://host/?a=b"], {"url": "http://host/?a=b"}),
        (["big=1180591620717411303424"], {"big": 2**70}),
        ([' {"a": {"b": "="}}'], {"a": {"b": "="}}),
        (["a=-", "b=tru", "c=1x", "d=( [1]"], {"a": "-", "b": "tru", "c": "1x", "d": "( [1]"}),
    ],
)
def test_what_words_mean(words: list[str], data: Any) -> None:
    assert data_from(words) == data


def test_standard_input() -> None:
    assert data_from(["-"], io.BytesIO(b' {"a": 1}\n')) == {"a": 1}


def test_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('{\n  "name": "Grüße"\n}\n', encoding="utf-8")
    assert data_from([f"@{path}"]) == {"name": "Grüße"}


@pytest.mark.parametrize("suffix", [".msgpack", ".mpk", ".MSGPACK"])
def test_a_msgpack_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(msgpack.packb({"raw": b"\x00\xff", 1: "one"}))
    assert data_from([f"@{path}"]) == {"raw": b"\x00\xff", 1: "one"}


@each_case(
    ("words", "message"),
    [
        (["hello"], "'hello' is neither JSON, nor key=value, nor @FILE, nor - for standard input"),
        (
            ['{"url": "http://h/?q=1",}'],
            """'{"url": "http://h/?q=1",}': not valid JSON: trailing comma in object (byte 24)""",
        ),
        ([" [1, 2"], "' [1, 2': not valid JSON: it ends too early (byte 6)"),
        (["{a=1}"], "'{a=1}': not valid JSON: object keys must be strings (byte 1)"),
        (['"a"=1'], """'"a"=1': not valid JSON: trailing characters (byte 4)"""),
        (["{" + "a" * 100], f"'{{{'a' * 59}...': not valid JSON: "),
        (["[" * 100_000], f"'{'[' * 60}...': nested too deeply"),
        (['{"a":', "1}"], """'{"a":' begins like JSON, which is one word: put all of it in single quotes"""),
        (["a=1", "[b]=2"], "'[b]=2' begins like JSON"),
        (
            ["list=[1,2,]"],
            "list: not valid JSON: trailing comma in array (byte 5); to send it as a text, write it as ",
        ),
        (
            ['name="Ann'],
            """name: not valid JSON: it ends too early (byte 4); to send it as a text, write it as """,
        ),
        (["=1"], "'=1' is neither"),
        (["a=1", "b"], "'b' is neither"),
        (["a=1", "a=2"], "the key 'a' is given twice"),
        (["@/no/such/file"], "/no/such/file: no such file or directory"),
    ],
)
def test_what_means_nothing_is_refused_by_name(words: list[str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        data_from(words)
    assert str(caught.value).startswith(message)


@each_case(
    ("content", "message"),
    [
        (b"", "standard input: not valid JSON: it ends too early (byte 0)"),
        (b'{"a": ', "standard input: not valid JSON: it ends too early (byte 6)"),
        (b'{"a": 1} {"b": 2}', "standard input: not valid JSON: trailing characters (byte 10)"),
        (b'"\xff"', "standard input: not valid JSON: a string is not UTF-8"),
        (b"1e400", "standard input: not valid JSON: Number out of range"),
        (b"[" * 100_000, "standard input: nested too deeply"),
    ],
)
def test_json_that_is_none(content: bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        data_from(["-"], io.BytesIO(content))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid MessagePack: No more data to unpack"),
        (b"\x92\x01", "not valid MessagePack: No more data to unpack"),
        (b"\xc1", "not valid MessagePack"),
        (b"\x01\x02", "more than one MessagePack value"),
        (b"\x91" * 100_000, "not valid MessagePack"),
    ],
)
def test_msgpack_that_is_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.msgpack"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        data_from([f"@{path}"])


def test_no_more_is_read_than_the_bound() -> None:
    blank = b" " * (INPUT_SIZE_BYTES_MAX - 1)
    assert data_from(["-"], io.BytesIO(blank + b"1")) == 1
    with pytest.raises(DataError, match=f"standard input: over {INPUT_SIZE_BYTES_MAX} bytes"):
        data_from(["-"], io.BytesIO(blank + b"11"))
