"""A PostgreSQL server of our own: `python -m benchmarks.peers.postgres_server BIN PORT FOLDER`.

Its data are in FOLDER, and nothing of the system's own cluster is touched. It refuses to run as root, so root becomes
the user `postgres`, which Debian's package has made. Settings are PostgreSQL's own: a commit waits for fsync.
"""

import os
import pwd
import subprocess
import sys
from pathlib import Path

USER = "postgres"


def main(binaries: str, port: str, folder: str) -> None:
    """Becomes the server."""
    if os.geteuid() == 0:
        user = pwd.getpwnam(USER)
        os.chown(folder, user.pw_uid, user.pw_gid)
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    data = str(Path(folder, "data"))
    initdb = (str(Path(binaries, "initdb")), "--auth=trust", f"--username={USER}", "--no-sync", data)
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/")
    os.chdir("/")
    server = str(Path(binaries, "postgres"))
    os.execv(server, (server, "-D", data, "-p", port, "-h", "127.0.0.1", "-k", folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
