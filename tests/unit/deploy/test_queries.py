"""The parser of expressions finds what an expression names; other tests rely on it."""

from tests.unit.deploy.queries import parse, queries


def test_metrics_are_found_with_the_labels_that_select_them() -> None:
    query = parse(
        "here",
        'histogram_quantile(0.99, sum by (le, command) (rate(a_bucket{x=~"by|(z)",y!="{}"}[5m]))) '
        "> on (job) group_left b:c:d and d_total * 0 or up offset 15m",
    )
    assert query.selected == {"a_bucket": {"x", "y"}, "b:c:d": set(), "d_total": set(), "up": set()}
    assert query.grouping == {"le", "command", "job"}


def test_there_are_queries_of_every_kind() -> None:
    places = " ".join(query.where for query in queries())
    for kind in ("Taskferry", "command:taskferry", "panel", "variable $", "annotation", "prometheus-adapter"):
        assert kind in places
