"""Every problem there is, for tests that hold a table against all of them."""

from collections.abc import Iterator

from core.problems import Problem


def every_problem(base: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """Give each kind of problem that any part has defined, whatever it is derived from."""
    for problem in base.__subclasses__():
        yield problem
        yield from every_problem(problem)
