"""What passes a gate, what does not and how that is said, and what a gate knows at a reload."""

import pytest
from taskferry.broker.access.counts import AccessCounts
from taskferry.broker.access.gate import CALLED_COUNT_MAX, TARGET_SUBJECTS_COUNT_MAX, Gate
from taskferry.broker.access.identity import Identity
from taskferry.broker.access.limits import NO_LIMITS
from taskferry.broker.access.rights import EVERYTHING, JOBS_OWN, NOTHING, Action, Rights
from taskferry.broker.access.usage import Usages
from taskferry.protocol.errors import NOT_DELIVERED

from tests.each_case import each_case

CALL, SERVE, TARGET = Action.CALL, Action.SERVE, Action.TARGET
RESIZE = Rights(grants={CALL: ["resize-*"]}, denials={CALL: ["resize-huge"]})


def gate_of(rights: Rights) -> Gate:
    return Gate(Identity("alice", rights), Usages(AccessCounts()).of("alice", NO_LIMITS, 0.0))


def forbidden(gate: Gate) -> dict[Action, int]:
    return {action: count for action, count in gate.usage.counts.forbidden.items() if count}


def test_a_call_that_is_allowed_is_known_afterwards() -> None:
    gate = gate_of(RESIZE)
    assert gate.allowed == set()
    assert gate.call("resize-image", None) is None
    assert gate.call("resize-image", None) is None
    assert gate.allowed == {"resize-image"}
    assert forbidden(gate) == {}
    assert gate.account is gate.usage.account


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("resize-huge", "alice may not call 'resize-huge': deny call \"resize-huge\""),
        ("delete", "alice may not call 'delete': no rule grants it"),
        ("\x1b[2J", "alice may not call '\\x1b[2J': no rule grants it"),
    ],
)
def test_a_call_that_is_not_allowed_is_refused_counted_and_not_kept(command: str, text: str) -> None:
    gate = gate_of(RESIZE)
    failures = [gate.call(command, None) for _ in range(3)]
    assert failures == [("forbidden", text, None, NOT_DELIVERED, None, None)] * 3
    assert gate.allowed == set()
    assert forbidden(gate) == {CALL: 3}


def test_what_is_not_allowed_of_jobs_is_said_in_plain_words() -> None:
    refusal = gate_of(RESIZE).refusal(Action.JOBS, JOBS_OWN)
    assert refusal is not None
    assert refusal.text == "alice may not see or change jobs: no rule grants it"


def test_everything_passes_where_access_is_off() -> None:
    gate = gate_of(EVERYTHING)
    assert gate.allowed is None
    assert gate.call("anything", {"zone": [str(number) for number in range(1000)]}) is None
    assert gate.serve(["a", "b"]) == []
    assert gate.served == ["a", "b"]
    assert all(gate.refusal(action) is None for action in Action)


def test_commands_that_a_requester_makes_up_fill_nothing() -> None:
    gate = gate_of(Rights(grants={CALL: ["*"]}))
    for number in range(CALLED_COUNT_MAX):
        assert gate.call(f"c{number}", None) is None
    assert gate.allowed is not None
    assert len(gate.allowed) == CALLED_COUNT_MAX
    assert gate.call("one-more", None) is None
    assert gate.allowed == {"one-more"}
    for number in range(2 * CALLED_COUNT_MAX):
        assert gate.refusal(SERVE, f"c{number}") is not None
    assert gate.allowed == {"one-more"}


@each_case(
    ("target", "refused"),
    [
        ("w-1", None),
        ("v-1", "'v-1'"),
        ({"zone": "a"}, None),
        ({"zone": ["a", "b"]}, "'zone=b'"),
        ({"zone": "a", "gpu": "yes"}, "'gpu=yes'"),
        ({}, None),
    ],
)
def test_each_part_of_a_target_needs_a_right(
    target: str | dict[str, str | list[str]], refused: str | None
) -> None:
    gate = gate_of(Rights(grants={CALL: ["*"], TARGET: ["w-*", "zone=a"]}))
    for _ in range(2):  # also once the command is known
        failure = gate.call("echo", target)
        assert (failure is None) == (refused is None)
        if failure is not None:
            assert failure.text == f"alice may not target {refused}: no rule grants it"
    assert forbidden(gate) == ({TARGET: 2} if refused else {})


def test_a_call_that_is_not_allowed_is_refused_before_its_target_is_looked_at() -> None:
    gate = gate_of(Rights(grants={TARGET: ["w"]}))
    failure = gate.call("echo", "v")
    assert failure is not None
    assert "may not call" in failure.text


def labels(count: int) -> dict[str, str | list[str]]:
    return {"zone": "0", "rack": [str(number) for number in range(1, count)]}


def test_the_labels_that_are_checked_for_a_call_are_bounded() -> None:
    gate = gate_of(Rights(grants={CALL: ["*"], TARGET: ["zone=*", "rack=*"]}))
    assert gate.call("echo", labels(TARGET_SUBJECTS_COUNT_MAX)) is None
    failure = gate.call("echo", labels(TARGET_SUBJECTS_COUNT_MAX + 1))
    assert failure is not None
    assert failure.text == "alice may not target: it has 65 values, and at most 64 are checked"
    assert forbidden(gate) == {TARGET: 1}


def test_whoever_may_choose_any_target_may_name_any_number_of_labels() -> None:
    gate = gate_of(Rights(["requester"]))
    assert gate.call("echo", labels(1000)) is None
    assert gate.allowed == {"echo"}


def test_a_worker_serves_what_it_may_and_gets_a_reason_for_each_other_command() -> None:
    gate = gate_of(Rights(grants={SERVE: ["a", "b-*"]}))
    failures = gate.serve(["b-1", "x", "a", "y"])
    assert gate.served == ["b-1", "a"]
    assert [failure.text for failure in failures] == [
        "alice may not serve 'x': no rule grants it",
        "alice may not serve 'y': no rule grants it",
    ]
    assert forbidden(gate) == {SERVE: 2}
    assert gate.serve(["a"]) == []
    assert gate.served == ["a"], "what it serves is what it said last"


def test_a_worker_that_may_serve_anything_serves_all_in_their_order() -> None:
    gate = gate_of(Rights(["worker"]))
    assert gate.serve(["b", "a"]) == []
    assert gate.served == ["b", "a"]
    denied = gate_of(Rights(["worker"], denials={SERVE: ["a"]}))
    assert [failure.text for failure in denied.serve(["b", "a"])] == [
        "alice may not serve 'a': deny serve \"a\""
    ]
    assert denied.served == ["b"]


def test_a_question_about_nothing_in_particular_names_the_action_alone() -> None:
    gate = gate_of(Rights(["observer"]))
    assert gate.refusal(Action.OBSERVE) is None
    assert gate.refusal(Action.WATCH, "orders") is None
    failure = gate.refusal(Action.OPERATE)
    assert failure is not None
    assert failure.text == "alice may not operate: no rule grants it"
    assert not gate.decide(Action.OPERATE).is_allowed
    assert forbidden(gate) == {Action.OPERATE: 1}, "a decision alone is not counted"


# --- reload ---


def used(rights: Rights) -> Gate:
    """A gate that has been used: a command called, one served."""
    gate = gate_of(rights)
    gate.call("echo", None)
    gate.serve(["resize"])
    return gate


ECHO_AND_RESIZE = Rights(grants={CALL: ["echo"], SERVE: ["resize"]})


@each_case(
    ("rights", "lost"),
    [
        (ECHO_AND_RESIZE, None),
        (Rights(grants={CALL: ["echo"], SERVE: ["resize"]}), None),
        (Rights(grants={CALL: ["e*"], SERVE: ["*"]}), None),
        (Rights(grants={CALL: ["echo"]}), "serve 'resize': no rule grants it"),
        (Rights(["admin"], denials={CALL: ["e*"]}), "call 'echo': deny call \"e*\""),
        (Rights(["admin"], denials={CALL: ["other"], TARGET: ["*"]}), None),
        (NOTHING, "serve 'resize': no rule grants it"),
    ],
)
def test_a_gate_knows_whether_a_right_that_it_used_is_gone(rights: Rights, lost: str | None) -> None:
    gate = used(ECHO_AND_RESIZE)
    assert gate.lost(rights) == lost
    assert forbidden(gate) == {}, "a reload refuses nothing"


def test_a_gate_that_was_never_used_loses_nothing() -> None:
    assert gate_of(ECHO_AND_RESIZE).lost(NOTHING) is None


def test_where_everything_was_allowed_a_restriction_of_calls_counts_as_a_loss() -> None:
    assert gate_of(EVERYTHING).lost(RESIZE) == "call: not everything is allowed any more"
    assert gate_of(EVERYTHING).lost(Rights(["requester"])) is None
    worker = gate_of(EVERYTHING)
    worker.serve(["resize"])
    assert worker.lost(Rights(["worker"])) is None
    assert worker.lost(RESIZE) == "serve 'resize': no rule grants it"


def test_new_rights_apply_from_the_next_call_on() -> None:
    gate = used(Rights(["requester", "worker"]))
    hoisted = gate.allowed
    gate.call("resize-image", None)
    gate.renew(Identity("alice", RESIZE, 100.0))
    assert gate.allowed is hoisted == {"resize-image"}
    assert gate.call("echo", None) is not None
    assert gate.call("resize-image", "w") is not None
    assert gate.identity.expires_at == 100.0


def test_rights_can_become_everything_and_be_restricted_again() -> None:
    gate = used(RESIZE)
    gate.renew(Identity("alice", EVERYTHING))
    assert gate.allowed is None
    assert gate.call("echo", "w") is None
    gate.renew(Identity("alice", RESIZE))
    assert gate.allowed == set()
    assert gate.call("echo", None) is not None


def test_what_was_subscribed_to_may_be_lost() -> None:
    watching = Rights(grants={Action.WATCH: ["task:*", "news"]})
    gate = gate_of(watching)
    assert gate.watch(["task:*", "news"]) is None
    refusal = gate.watch(["news", "job:*"])
    assert refusal is not None
    assert refusal.text == "alice may not watch 'job:*': no rule grants it"
    assert forbidden(gate) == {Action.WATCH: 1}
    gate.watched.update(dict.fromkeys(["task:*", "news"]))
    assert gate.lost(watching.joined_with(RESIZE)) is None
    assert gate.lost(Rights(grants={Action.WATCH: ["task:*"]})) == "watch 'news': no rule grants it"


def test_one_that_only_subscribes_keeps_its_connection_if_everything_else_goes() -> None:
    gate = gate_of(EVERYTHING)
    gate.watched["news"] = None
    assert gate.lost(Rights(grants={Action.WATCH: ["*"]})) is None
    assert gate.lost(Rights(grants={Action.CALL: ["*"]})) == "watch 'news': no rule grants it"
