"""A real Prometheus that scrapes one broker every second, with the project's own configuration and rules. Its rules and
alerts run faster: every duration in them is divided by SPEED."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from tests.deploy.proxies import Substitutions, port_of, substituted
from tests.deploy.tools import free_port, is_listening, needed
from tests.processes import PATIENCE_S, Broker, Hangs, Programs, wait_until
from tests.unit.deploy.deployment import DEPLOY

SPEED: Final = 30
"""The divisor of durations: [5m] becomes 10 s, ten scrapes, and `for: 1m` two seconds."""
SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def sped_up(rules: str) -> str:
    """The text of a rule file with each range and each `for` divided by SPEED."""

    def divided(found: re.Match[str]) -> str:
        duration_ms = int(found["count"]) * SECONDS[found["unit"]] * 1000 // SPEED
        return f"{found['before']}{duration_ms}ms{found['after']}"

    rules = re.sub(r"(?P<before>\[)(?P<count>\d+)(?P<unit>[smh])(?P<after>\])", divided, rules)
    return re.sub(r"(?P<before>\bfor: )(?P<count>\d+)(?P<unit>[smh])(?P<after>\n)", divided, rules)


class Prometheus:
    """A Prometheus on a free port that scrapes `broker`, its configuration changed by `changes` as well."""

    def __init__(self, programs: Programs, broker: Broker, changes: Substitutions | None = None) -> None:
        folder = programs.folder / "prometheus"
        folder.mkdir()
        configuration = (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
        configuration = substituted(
            configuration,
            {
                r"_interval: 15s": "_interval: 1s",
                r"127\.0\.0\.1:8767": f"127.0.0.1:{port_of(broker.http_url)}",
                **(changes or {}),
            },
        )
        (folder / "prometheus.yml").write_text(configuration, encoding="utf-8")
        for name in ("recording_rules.yml", "alert_rules.yml"):
            rules = (DEPLOY / "prometheus" / name).read_text(encoding="utf-8")
            (folder / name).write_text(sped_up(rules), encoding="utf-8")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._program = programs.start(
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            executable=needed("prometheus"),
        )
        wait_until(lambda: is_listening(port) and self._is_ready(), "Prometheus is ready")

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its HTTP API. Raises OSError if it answers with an error."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that `expression` gives now."""
        result = self.get("query", query=expression)["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    def value(self, expression: str) -> float | None:
        """The one value of `expression`; None if there is none."""
        found = self.query(expression)
        assert len(found) <= 1, f"{expression}: {found}"
        return found[0][1] if found else None

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, as name and command; the command is empty if the alert has none.

        The alert on a late event loop is left out: it fires on a machine that runs many tests at once.
        """
        alerts = self.get("alerts")["alerts"]
        return {
            (alert["labels"]["alertname"], alert["labels"].get("command", ""))
            for alert in alerts
            if alert["state"] == "firing" and alert["labels"]["alertname"] != "TaskferryEventLoopLag"
        }

    def wait_for(
        self, expression: str, is_right: Callable[[float], bool], timeout_s: float = PATIENCE_S
    ) -> None:
        """Return once the value of `expression` is right. Raises Hangs, with the last value, if that takes too long."""
        values: list[float | None] = [None]

        def look() -> bool:
            values[0] = self.value(expression)
            return values[0] is not None and is_right(values[0])

        try:
            wait_until(look, expression, timeout_s)
        except Hangs as hangs:
            raise Hangs(f"{hangs}; the last value was {values[0]}") from None

    def wait_for_firing(self, expected: set[tuple[str, str]], timeout_s: float = PATIENCE_S) -> None:
        """Return once exactly these alerts fire."""
        try:
            wait_until(lambda: self.firing() == expected, f"alerts {expected}", timeout_s)
        except Hangs as hangs:
            raise Hangs(f"{hangs}; {self.firing()} fire") from None
