"""All sections, in the order in which they are measured and shown."""

from typing import Final

from . import cost, events, gather, idle, job_peers, jobs, latency, processes, queue, scale, start_up, streams
from .section import Section

SECTIONS: Final[tuple[Section, ...]] = (
    cost.SECTION,
    scale.SECTION,
    queue.SECTION,
    latency.SECTION,
    jobs.SECTION,
    job_peers.SECTION,
    events.SECTION,
    streams.SECTION,
    gather.SECTION,
    idle.SECTION,
    processes.SECTION,
    start_up.SECTION,
)
BY_NAME: Final = {section.name: section for section in SECTIONS}
