"""What figures depend on is read from the interpreter that runs the broker."""

from importlib.metadata import version

from taskferry.broker.core import core

from benchmarks.machine import about


def test_it_says_whether_the_hot_path_of_the_broker_is_compiled() -> None:
    told = about()
    is_source = core.__file__.endswith(".py")
    assert told["broker_hot_path"] == ("plain Python" if is_source else "compiled")
    assert told["broker_packages"]["taskferry"] == version("taskferry")
