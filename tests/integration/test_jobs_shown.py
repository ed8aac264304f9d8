"""What `taskferry status` and `taskferry explain` print of the jobs of a real broker."""

import click
from click.testing import CliRunner
from taskferry.cli.inspection import explain, status
from taskferry.requester import BlockingRequester

from tests.processes import Broker, Programs


def lines_of(broker: Broker, command: click.Command, *arguments: str) -> list[str]:
    result = CliRunner().invoke(command, [*arguments, "--http", broker.http_url])
    assert result.exit_code == 0, result.output
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


def test_a_job_is_counted_and_explained_from_its_submission_to_its_end(
    programs: Programs, broker: Broker
) -> None:
    with BlockingRequester(broker.requester_url) as requester:
        job = requester.submit("echo", {"message": "x"}, key="k", job_id="first")
        assert lines_of(broker, explain, "first")[0] == (
            "Job first (echo) waits for a worker: none that is connected serves echo."
        )
        shown = lines_of(broker, explain)
        assert "1 job is ready for a worker:" in shown
        assert any(line.startswith("first echo ") for line in shown)
        assert "jobs now 1 ready" in lines_of(broker, status)
        programs.start("-m", "taskferry.worker", "--broker", broker.worker_url)
        assert job.result(timeout=20) == "Echo: x"
    assert lines_of(broker, explain, "first")[0].startswith("Job first (echo) is done; it ended ")
    assert {"jobs submitted 1", "done 1", "jobs now 1 done"} <= set(lines_of(broker, status))
