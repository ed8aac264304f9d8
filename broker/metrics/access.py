"""Families about logins, and about refusals for want of a login, of a right, or of room under a limit."""

from typing import Final

from .family import Family, NumberFamily

ACCESS: Final[tuple[Family, ...]] = (
    NumberFamily(
        "taskferry_logins_total",
        "counter",
        ("outcome", "proof"),
        "Logins on all ports, and renewals, by what was presented.",
        lambda subjects: [
            ((outcome, proof.value), count)
            for (proof, outcome), count in subjects.model.access.logins.items()
        ],
    ),
    NumberFamily(
        "taskferry_logins_ended_total",
        "counter",
        ("cause",),
        "Connections closed for their login.",
        lambda subjects: [((cause.value,), count) for cause, count in subjects.model.access.ended.items()],
    ),
    NumberFamily(
        "taskferry_connections_kicked_total",
        "counter",
        ("port",),
        "Connections closed by an operator.",
        lambda subjects: [((port,), count) for port, count in subjects.model.access.kicked.items()],
    ),
    NumberFamily(
        "taskferry_forbidden_total",
        "counter",
        ("action",),
        "Refusals for want of a right.",
        lambda subjects: [
            ((action.value,), count) for action, count in subjects.model.access.forbidden.items()
        ],
    ),
    NumberFamily(
        "taskferry_limited_total",
        "counter",
        ("limit",),
        "Refusals because an address or an account had reached a limit.",
        lambda subjects: [((limit,), count) for limit, count in subjects.model.access.limited.items()],
    ),
    NumberFamily(
        "taskferry_http_requests_refused_total",
        "counter",
        ("reason",),
        "Requests to the HTTP port that were not let in, by reason.",
        lambda subjects: [
            ((reason.value,), count) for reason, count in subjects.model.access.http_refused.items()
        ],
    ),
)
