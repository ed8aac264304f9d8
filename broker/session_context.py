"""What every session of a broker needs of it, and all that a session knows of it."""

from typing import TYPE_CHECKING

from ..protocol.encodings import Encoding
from ..protocol.frequent import FrequentMessages
from ..protocol.limits import ENVELOPE_SIZE_BYTES_MAX
from .core.core import Core
from .core_timer import CoreTimer

if TYPE_CHECKING:
    from .gather_desk import GatherDesk
    from .job_desk import JobDesk
    from .post import Post
    from .topic_desk import TopicDesk
    from .topic_sources import TopicObserver


class SessionContext:
    """`broker`: how the broker names itself to workers. `message_size_bytes_max`: the largest message that it takes;
    `data_size_bytes_max`: the largest `data` or result, which must fit into a message on its way out again. `desk`:
    that of jobs; None if this broker keeps none. `topics`: the desk of topics, and `observer`, which publishes what
    happens to workers. `gathers`: the desk of gathers; `post` carries messages of the user's own."""

    __slots__ = (
        "broker",
        "core",
        "data_size_bytes_max",
        "desk",
        "frequent",
        "gathers",
        "message_size_bytes_max",
        "observer",
        "post",
        "timer",
        "topics",
    )

    gathers: "GatherDesk"
    post: "Post"

    def __init__(
        self,
        core: Core,
        timer: CoreTimer,
        broker: str,
        message_size_bytes_max: int,
        *,
        topics: "TopicDesk",
        observer: "TopicObserver",
    ) -> None:
        self.core = core
        self.timer = timer
        self.topics = topics
        self.observer = observer
        self.broker = broker
        self.desk: JobDesk | None = None
        self.message_size_bytes_max = message_size_bytes_max
        self.data_size_bytes_max = message_size_bytes_max - ENVELOPE_SIZE_BYTES_MAX
        self.frequent: dict[Encoding, FrequentMessages] = {
            encoding: FrequentMessages(encoding) for encoding in Encoding
        }
