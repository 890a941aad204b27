"""Statements for the hottest paths, which bypass SQLAlchemy's compiler and result objects.

A statement gets many rows at once: PostgreSQL unnests arrays; SQLite reads JSON as a table, and inserts row
by row in the driver's loop. The types of the columns convert the values, as SQLAlchemy would.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, Dialect, LargeBinary, Table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from core.database import UtcDateTime

Row = Sequence[Any]
#: Converts the values of a column; None leaves them as they are.
Convert = Callable[[Sequence[Any]], Sequence[Any]] | None

_JSON_ROWS = "(SELECT {columns} FROM json_each(?))"
_ARRAY_ROWS = "(SELECT * FROM unnest({arrays}) AS r ({columns}))"
_INSERT = "INSERT INTO {table} ({columns}) {source}"


class _Compiled(NamedTuple):
    """A statement in one dialect, with the converters of its values."""

    text: str
    binds: list[Convert]
    results: list[Convert]


class BulkStatement:
    """A statement that reads its rows as a table, at `{rows}`.

    takes: the columns of that table. gives: the columns of the result.
    locked: replaces `{locked}` on PostgreSQL; SQLite's single writer needs no row locks.
    """

    def __init__(
        self,
        text: str,
        takes: Sequence[Column[Any]],
        gives: Sequence[Column[Any]] = (),
        locked: str = "",
    ) -> None:
        self._text = text
        self._takes = takes
        self._gives = gives
        self._locked = locked
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> list[Row]:
        """Run the statement with rows; return its result, which is empty without rows."""
        if not rows:
            return []
        compiled = self._in(connection.dialect)
        values = _columns(compiled.binds, rows)
        if connection.dialect.name == "sqlite":
            values = [json.dumps(list(zip(*values, strict=True)))]
        with _driver(connection) as cursor:
            cursor.execute(compiled.text, tuple(values))
            if not self._gives:
                return []
            found = cursor.fetchall()
        return list(zip(*_columns(compiled.results, found), strict=True))

    def _in(self, dialect: Dialect) -> _Compiled:
        if dialect.name not in self._compiled:
            if dialect.name == "sqlite":
                picked = ", ".join(
                    f"json_extract(value, '$[{place}]') AS {column.name}"
                    for place, column in enumerate(self._takes)
                )
                rows, locked = _JSON_ROWS.format(columns=picked), ""
            else:
                rows, locked = _unnested(dialect, self._takes), self._locked
            self._compiled[dialect.name] = _Compiled(
                self._text.format(rows=rows, locked=locked),
                _binds(dialect, self._takes),
                _results(dialect, self._gives),
            )
        return self._compiled[dialect.name]


class BulkInsert:
    """An INSERT of rows that have a value for every column of the table, in order."""

    def __init__(self, into: Table) -> None:
        self._into = into
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Insert the rows, if there are any."""
        if not rows:
            return
        compiled = self._in(connection.dialect)
        values = _columns(compiled.binds, rows)
        with _driver(connection) as cursor:
            if connection.dialect.name == "sqlite":
                cursor.executemany(compiled.text, list(zip(*values, strict=True)))
            else:
                cursor.execute(compiled.text, tuple(values))

    def _in(self, dialect: Dialect) -> _Compiled:
        if dialect.name not in self._compiled:
            columns = list(self._into.columns)
            names = ", ".join(column.name for column in columns)
            if dialect.name == "sqlite":
                source = f"VALUES ({', '.join('?' * len(columns))})"
            else:
                source = _unnested(dialect, columns)
            self._compiled[dialect.name] = _Compiled(
                _INSERT.format(table=self._into.name, columns=names, source=source),
                _binds(dialect, columns),
                [],
            )
        return self._compiled[dialect.name]


class BulkSelect:
    """A SELECT that returns many rows; `{name}` in its text is a parameter."""

    def __init__(
        self, text: str, takes: Mapping[str, Column[Any]], gives: Sequence[Column[Any]]
    ) -> None:
        self._text = text
        self._takes = takes
        self._gives = gives
        self._order = re.findall(r"{(\w+)}", text)
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, **values: object) -> list[Row]:
        """Return the rows for these parameters."""
        compiled = self._in(connection.dialect)
        parameters = _columns(compiled.binds, [[values[name] for name in self._order]])
        with _driver(connection) as cursor:
            cursor.execute(compiled.text, [value for (value,) in parameters])
            found = cursor.fetchall()
        return list(zip(*_columns(compiled.results, found), strict=True))

    def _in(self, dialect: Dialect) -> _Compiled:
        if dialect.name not in self._compiled:
            mark = "?" if dialect.name == "sqlite" else "%s"
            self._compiled[dialect.name] = _Compiled(
                re.sub(r"{\w+}", mark, self._text),
                _binds(dialect, [self._takes[name] for name in self._order]),
                _results(dialect, self._gives),
            )
        return self._compiled[dialect.name]


@contextmanager
def _driver(connection: Connection) -> Iterator[Any]:
    """Yield a cursor of the driver; raise its errors as SQLAlchemy's.

    For a single message, a SQLAlchemy result costs as much as the statement.
    """
    fault = connection.dialect.loaded_dbapi.Error
    with closing(connection.connection.cursor()) as cursor:
        try:
            yield cursor
        except fault as error:
            raise DBAPIError.instance(None, None, error, fault) from error


def _unnested(dialect: Dialect, columns: Sequence[Column[Any]]) -> str:
    arrays = ", ".join(f"%s::{column.type.compile(dialect)}[]" for column in columns)
    names = ", ".join(column.name for column in columns)
    return _ARRAY_ROWS.format(arrays=arrays, columns=names)


def _binds(dialect: Dialect, columns: Sequence[Column[Any]]) -> list[Convert]:
    return [_bind(dialect, column.type) for column in columns]


def _results(dialect: Dialect, columns: Sequence[Column[Any]]) -> list[Convert]:
    return [
        _each_once(column.type.dialect_impl(dialect).result_processor(dialect, None))
        for column in columns
    ]


def _bind(dialect: Dialect, kind: TypeEngine[Any]) -> Convert:
    if isinstance(kind, LargeBinary):
        return None  # drivers take bytes as they are; SQLAlchemy would wrap each
    convert = kind.dialect_impl(dialect).bind_processor(dialect)
    return _each_once(convert) if isinstance(kind, UtcDateTime) else _each(convert)


def _columns(converts: Sequence[Convert], rows: Sequence[Row]) -> list[Sequence[Any]]:
    """Return the columns of rows, converted."""
    if not rows:
        return [() for _ in converts]
    return [
        list(column) if convert is None else convert(column)
        for convert, column in zip(converts, zip(*rows, strict=True), strict=True)
    ]


def _each(convert: Callable[[Any], Any] | None) -> Convert:
    """Return a converter of each value of a column."""
    if convert is None:
        return None
    return lambda column: [convert(value) for value in column]


def _each_once(convert: Callable[[Any], Any] | None) -> Convert:
    """Return a converter for a column with few distinct values."""
    if convert is None:
        return None

    def convert_all(column: Sequence[Any]) -> Sequence[Any]:
        converted = {value: convert(value) for value in set(column)}
        return [converted[value] for value in column]

    return convert_all
