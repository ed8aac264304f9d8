"""Families about requests as a whole: how many, and what happened to them on the way."""

from typing import Final

from .family import Family, NumberFamily, total

REQUESTS: Final[tuple[Family, ...]] = (
    NumberFamily(
        "taskferry_requests_in_flight",
        "gauge",
        (),
        "Requests admitted and not ended.",
        lambda subjects: total(subjects.model.totals().in_flight_count),
    ),
    NumberFamily(
        "taskferry_queue_size_bytes",
        "gauge",
        (),
        "Data of waiting requests.",
        lambda subjects: total(subjects.model.totals().queue_size_bytes),
    ),
    NumberFamily(
        "taskferry_assigned_size_bytes",
        "gauge",
        (),
        "Data of 1 kB and more that is kept for assigned requests, because they may have to be sent again.",
        lambda subjects: total(subjects.model.totals().assigned_size_bytes),
    ),
    NumberFamily(
        "taskferry_requests_submitted_total",
        "counter",
        (),
        "Requests admitted.",
        lambda subjects: total(subjects.model.totals().submitted_count),
    ),
    NumberFamily(
        "taskferry_requests_refused_total",
        "counter",
        ("code",),
        "Requests not admitted.",
        lambda subjects: [((code,), count) for code, count in subjects.model.totals().refused.items()],
    ),
    NumberFamily(
        "taskferry_requests_unserved_total",
        "counter",
        (),
        "Requests for commands that no worker has ever served.",
        lambda subjects: total(subjects.model.totals().unserved_count),
    ),
    NumberFamily(
        "taskferry_retries_total",
        "counter",
        (),
        "Idempotent requests assigned again after a lost worker.",
        lambda subjects: total(subjects.model.totals().retried_count),
    ),
    NumberFamily(
        "taskferry_retries_given_up_total",
        "counter",
        (),
        "Idempotent requests that could not have run again, because too much data was kept.",
        lambda subjects: total(subjects.model.totals().given_up_count),
    ),
    NumberFamily(
        "taskferry_reassignments_total",
        "counter",
        (),
        "Requests assigned again because they were never sent to a lost worker.",
        lambda subjects: total(subjects.model.totals().reassigned_count),
    ),
    NumberFamily(
        "taskferry_late_responses_total",
        "counter",
        (),
        "Responses to requests that had ended.",
        lambda subjects: total(subjects.model.totals().late_responses_count),
    ),
    NumberFamily(
        "taskferry_unknown_assignments_total",
        "counter",
        (),
        "Responses that named no assignment of their worker.",
        lambda subjects: total(subjects.model.totals().unknown_assignments_count),
    ),
    NumberFamily(
        "taskferry_hedges_total",
        "counter",
        (),
        "Hedges sent for requests that took long.",
        lambda subjects: total(subjects.model.totals().hedged_count),
    ),
    NumberFamily(
        "taskferry_hedges_won_total",
        "counter",
        (),
        "Hedges that answered first.",
        lambda subjects: total(subjects.model.totals().hedges_won_count),
    ),
    NumberFamily(
        "taskferry_requests_shed_total",
        "counter",
        (),
        "Requests rejected because they had waited too long under overload.",
        lambda subjects: total(subjects.model.totals().shed_count),
    ),
    NumberFamily(
        "taskferry_requests_yielded_total",
        "counter",
        (),
        "Requests rejected at a bound on what waits, so that those of clients with less can wait.",
        lambda subjects: total(subjects.model.totals().yielded_count),
    ),
)
