"""The guides to both SDKs have the numbers, names and codes of the code."""

import re

from taskferry import requester as requester_sdk
from taskferry.protocol import limits
from taskferry.protocol.errors import REGISTRY, WORKER_CODES, TaskferryError
from taskferry.requester import exchange, exit_codes, question
from taskferry.requester.client import Requester
from taskferry.requester.jobs import inbox
from taskferry.transport.backoff import BACKOFF_FIRST_S, BACKOFF_MAX_S
from taskferry.worker import limits as worker_limits
from taskferry.worker.context import Context

from tests.each_case import each_case
from tests.unit.docs.pages import Page, page

WORKERS, REQUESTERS, UPGRADING = (
    page("docs/workers.md"),
    page("docs/requesters.md"),
    page("docs/upgrading.md"),
)
OF_THE_WORKER_PORT = {"bad_message", "unknown_assignment", "worker_id_taken"}
FACTS = [
    (WORKERS, f"at most {limits.COMMANDS_COUNT_MAX:,} commands"),
    (WORKERS, f"at most {worker_limits.THREAD_COUNT_DEFAULT_MAX} |"),
    (WORKERS, f"silent for {limits.SILENCE_S_MAX:g} s"),
    (WORKERS, f"blocked for {worker_limits.BLOCKED_S_MAX:g} s"),
    (WORKERS, f"{worker_limits.GRACE_S_DEFAULT:g} s by default"),
    (WORKERS, f"up to {BACKOFF_FIRST_S:g} s, doubling to at most {BACKOFF_MAX_S:g} s"),
    (WORKERS, f"up to {limits.TEXT_LENGTH_MAX:,} characters"),
    (WORKERS, f"up to {limits.CODE_LENGTH_MAX} characters"),
    (REQUESTERS, f"up to {limits.TIMEOUT_S_MAX:,.0f} | {limits.TIMEOUT_S_DEFAULT:g} |"),
    (
        REQUESTERS,
        f"to {limits.PRIORITY_MAX}; one step is worth one second of waiting | {limits.PRIORITY_DEFAULT} |",
    ),
    (REQUESTERS, f"1 to {limits.REQUEST_ID_LENGTH_MAX} characters"),
    (REQUESTERS, f"{limits.IN_FLIGHT_COUNT_MAX:,} requests (`in_flight_count_max`)"),
    (REQUESTERS, f"{exchange.IN_FLIGHT_SIZE_BYTES_MAX // 2**20} MiB"),
    (REQUESTERS, f"At most {exchange.FOLLOWED_COUNT_MAX:,} jobs are waited for"),
    (REQUESTERS, f"at most {inbox.UNREAD_COUNT_MAX:,} wait to be read"),
    (REQUESTERS, f"within `answer_timeout` ({question.ANSWER_TIMEOUT_S_DEFAULT:g} s)"),
]


@each_case(("guide", "fact"), FACTS)
def test_a_number_is_the_codes(guide: Page, fact: str) -> None:
    assert fact in " ".join(guide.text.split())


def test_the_grace_of_an_answer_is_half_a_second() -> None:
    assert exchange.ANSWER_GRACE_S == 0.5
    assert "half a second" in REQUESTERS.text


def test_every_error_that_a_call_can_raise_has_a_row() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", REQUESTERS.text, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(rows))) & set(requester_sdk.__all__)
    raised = {error.__name__ for code, error in REGISTRY.items() if code not in OF_THE_WORKER_PORT}
    assert named == raised | {"JobNotEnded"}


def test_the_attributes_of_an_error_are_named() -> None:
    for name in [*TaskferryError.__annotations__, "text", "request_id", "processed_by"]:
        assert name == "message" or f"`{name}`" in REQUESTERS.text, name


def test_every_option_of_a_call_has_a_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", REQUESTERS.text, re.MULTILINE))
    assert set(Requester.request.__kwdefaults__ or ()) <= rows


def test_every_exit_code_is_named() -> None:
    listed = re.findall(r"^\| (\d+) \| (.+) \|$", REQUESTERS.text, re.MULTILINE)
    assert [int(code) for code, _ in listed] == list(exit_codes.MEANINGS)


def test_the_members_of_a_context_are_named() -> None:
    for name in vars(Context):
        assert name.startswith("_") or f"`{name}" in WORKERS.text, name


def test_codes_that_do_not_count_against_a_worker_are_named() -> None:
    for code in WORKER_CODES:
        assert (f"`{code}`" in WORKERS.text) or REGISTRY[code].blame != "requester"


def test_the_answers_of_a_stopping_broker_are_named() -> None:
    for code in ("shutting_down", "broker_stopped"):
        assert f"`{code}`" in UPGRADING.text
        assert REGISTRY[code].__name__ in UPGRADING.text
