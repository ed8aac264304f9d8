"""What views have in common: answers in JSON, and paths that hold any name."""

import msgspec
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import Response


class _AnyText(Convertor[str]):
    """A name in a path: whatever it holds, slashes and line ends included."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyText())


def json_answer(content: object, status: int = 200) -> Response:
    """`content` in JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def error_answer(status: int, text: str) -> Response:
    """One line that says why there is no other answer."""
    return json_answer({"error": text}, status)
