"""The close codes that mean something of ours; the others are those of RFC 6455 (7.4.1).

Codes from 4000 are free for private use (RFC 6455, 7.4.2). Ours are 4000 and the HTTP status of the same meaning.
"""

from typing import Final

POLICY_VIOLATION: Final = 1008
"""A worker that is refused; a peer that sent only messages which do not decode (`FAULTS_COUNT_MAX`)."""

LOGIN_ENDED: Final = 4401
"""The login of this connection has run out or was revoked: connect again, with a fresh token."""

KICKED: Final = 4410
"""An operator has closed this connection: connect again, unless the reason says otherwise."""

RIGHT_LOST: Final = 4403
"""The identity lost a right that this connection uses: connect again, and do without."""
