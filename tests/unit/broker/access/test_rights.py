"""Union of grants, deny wins, deny by default; and each decision names its rule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskferry.broker.access.rights import (
    EVERYTHING,
    NO_RULE,
    NOTHING,
    ROLES,
    RULES_COUNT_MAX,
    Action,
    Rights,
)

from tests.each_case import each_case

CALL, SERVE = Action.CALL, Action.SERVE


@each_case("action", Action)
def test_what_nothing_grants_is_not_allowed(action: Action) -> None:
    assert NOTHING.decide(action, "x") == (False, NO_RULE)
    assert NOTHING.decide(action) == (False, NO_RULE)
    assert not NOTHING.has_any(action)
    assert not NOTHING.has_all(action)


@each_case("action", Action)
def test_an_administrator_may_do_anything(action: Action) -> None:
    assert EVERYTHING.decide(action, "x") == EVERYTHING.decide(action) == (True, "role admin")
    assert EVERYTHING.has_any(action)
    assert EVERYTHING.has_all(action)


@each_case(
    ("role", "allowed"),
    [
        ("worker", {SERVE, Action.MESSAGE, Action.PUBLISH}),
        ("requester", {CALL, Action.TARGET, Action.MESSAGE, Action.JOBS}),
        ("observer", {Action.OBSERVE, Action.WATCH}),
        ("operator", {Action.OBSERVE, Action.OPERATE, Action.WATCH, Action.PUBLISH, Action.JOBS}),
        ("admin", set(Action)),
    ],
)
def test_a_role_grants_its_actions_and_no_others(role: str, allowed: set[Action]) -> None:
    rights = Rights([role])
    assert {action for action in Action if rights.has_any(action)} == allowed
    assert rights.decide(Action.JOBS, "own").is_allowed == (Action.JOBS in allowed)
    assert rights.decide(Action.JOBS, "all").is_allowed == (role in ("operator", "admin"))


def test_the_roles_are_those_of_the_table_above() -> None:
    assert set(ROLES) == {"worker", "requester", "observer", "operator", "admin"}


@each_case(
    ("command", "decision"),
    [
        ("resize", (True, 'call "resize"')),
        ("resize-image", (True, 'call "resize-*"')),
        ("resize-huge", (False, 'deny call "resize-huge"')),
        ("delete", (False, NO_RULE)),
        ("RESIZE", (False, NO_RULE)),
        ("", (False, NO_RULE)),
    ],
)
def test_a_grant_is_of_a_pattern_and_a_denial_wins(command: str, decision: tuple[bool, str]) -> None:
    rights = Rights(grants={CALL: ["resize", "resize-*"]}, denials={CALL: ["resize-huge"]})
    assert rights.decide(CALL, command) == decision
    assert rights.decide(SERVE, command) == (False, NO_RULE), "a grant is for its action alone"


def test_a_denial_wins_over_a_role() -> None:
    rights = Rights(["admin"], denials={CALL: ["admin-*"]})
    assert rights.decide(CALL, "admin-reset") == (False, 'deny call "admin-*"')
    assert rights.decide(CALL, "echo") == (True, "role admin")
    assert rights.has_any(CALL)
    assert not rights.has_all(CALL)
    assert rights.has_all(SERVE)


def test_all_that_an_identity_has_adds_up() -> None:
    one = Rights(["worker"], {CALL: ["a"]}, {SERVE: ["x"]})
    other = Rights(["observer"], {CALL: ["b", "x"]}, {CALL: ["x"]})
    joined = one.joined_with(other)
    assert [joined.decide(CALL, name).is_allowed for name in "abcx"] == [True, True, False, False]
    assert [joined.decide(SERVE, name).is_allowed for name in "ax"] == [True, False]
    assert joined.decide(Action.OBSERVE) == (True, "role observer")
    assert one.decide(CALL, "b") == other.decide(CALL, "a") == (False, NO_RULE), "both stay as they were"


rights_of = st.builds(
    Rights,
    st.lists(st.sampled_from(list(ROLES)), max_size=2),
    st.dictionaries(st.sampled_from(Action), st.lists(st.sampled_from(["a", "a*", "*"]), max_size=2)),
    st.dictionaries(st.sampled_from(Action), st.lists(st.sampled_from(["a", "b*"]), max_size=1)),
)


@settings(max_examples=40)
@given(rights_of, rights_of, st.sampled_from(Action), st.sampled_from(["", "a", "ab", "b", "own", "all"]))
def test_joined_rights_never_allow_what_one_of_them_denies(
    one: Rights, other: Rights, action: Action, subject: str
) -> None:
    joined = one.joined_with(other).decide(action, subject)
    decisions = one.decide(action, subject), other.decide(action, subject)
    is_denied = any(decision.rule.startswith("deny") for decision in decisions)
    is_granted = any(decision.is_allowed for decision in decisions)
    assert joined.is_allowed == (is_granted and not is_denied)
    assert other.joined_with(one).decide(action, subject).is_allowed == joined.is_allowed


@settings(max_examples=40)
@given(rights_of, rights_of)
def test_rights_with_the_same_rules_are_recognised(one: Rights, other: Rights) -> None:
    assert one.has_rules_of(one.joined_with(NOTHING))
    if one.has_rules_of(other):
        subjects = ("", "a", "ab", "b", "own", "all")
        assert all(one.decide(a, s) == other.decide(a, s) for a in Action for s in subjects)


def test_a_right_to_all_jobs_includes_its_own() -> None:
    assert Rights(grants={Action.JOBS: ["all"]}).decide(Action.JOBS, "own") == (True, 'jobs "all"')
    assert not Rights(grants={Action.JOBS: ["own"]}).decide(Action.JOBS, "all").is_allowed
    denied = Rights(["operator"], denials={Action.JOBS: ["all"]})
    assert denied.decide(Action.JOBS, "own").is_allowed
    assert not denied.decide(Action.JOBS, "all").is_allowed


def test_an_empty_list_grants_nothing() -> None:
    assert not Rights(grants={CALL: []}).has_any(CALL)
    assert Rights(["admin"], denials={CALL: []}).has_all(CALL)


def test_a_role_that_there_is_not_is_refused() -> None:
    with pytest.raises(
        ValueError, match="no role is called 'root': use worker, requester, observer, operator, admin"
    ):
        Rights(["root"])


def test_the_rules_of_an_identity_are_bounded() -> None:
    patterns = [f"command-{number}" for number in range(RULES_COUNT_MAX)]
    full = Rights(grants={CALL: patterns[1:]}, denials={CALL: ["x"]})
    assert full.decide(CALL, "command-999").is_allowed
    with pytest.raises(ValueError, match=r"1001 patterns for one identity, at most 1000 \(RULES_COUNT_MAX\)"):
        Rights(grants={CALL: patterns}, denials={CALL: ["x"]})
    with pytest.raises(ValueError, match="at most 1000"):
        full.joined_with(Rights(grants={CALL: ["one-more"]}))


def test_a_pattern_of_topics_needs_one_grant_for_all_of_it_and_no_denial() -> None:
    rights = Rights(grants={Action.WATCH: ["task:*", "news"]}, denials={Action.WATCH: ["task:secret*"]})
    assert rights.decide_pattern(Action.WATCH, "task:list") == (True, 'watch "task:*"')
    assert rights.decide_pattern(Action.WATCH, "task:l*").is_allowed
    assert rights.decide_pattern(Action.WATCH, "task:*") == (False, 'deny watch "task:secret*"')
    assert rights.decide_pattern(Action.WATCH, "n*") == (False, "no rule grants it")
    assert EVERYTHING.decide_pattern(Action.WATCH, "*").is_allowed
