"""Rows of several tables, written by one statement on PostgreSQL, where a statement costs more than its rows."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import TextClause, bindparam, insert, text, update
from sqlalchemy.orm import Session

from .tables import Table, rows_of

__all__ = ["Rows", "write_rows"]

Rows = Sequence[Mapping[str, Any]]
Changed = tuple[type[Table], tuple[str, ...]]


def write_rows(session: Session, new: Mapping[type[Table], Rows], changed: Mapping[type[Table], Rows]) -> None:
    """Insert rows, which have every column but those that count by themselves, and change others.

    A changed row is found by its first column, which is a primary key.
    """
    if session.get_bind().dialect.name == "postgresql":
        statement = _one_statement(tuple(new), tuple((table, tuple(rows[0])) for table, rows in changed.items()))
        sent = {**new, **changed}
        session.execute(statement, {table.__tablename__: json.dumps(rows) for table, rows in sent.items()})
        return
    for table, rows in new.items():
        if rows:
            session.execute(insert(rows_of(table)), list(rows))
    for table, rows in changed.items():
        key, *others = rows[0]
        found = rows_of(table).c[key] == bindparam(f"_{key}")
        change = update(rows_of(table)).where(found).values({other: bindparam(f"_{other}") for other in others})
        session.execute(change, [{f"_{column}": value for column, value in row.items()} for row in rows])


@cache
def _one_statement(
    new: tuple[type[Table], ...], changed: tuple[tuple[type[Table], tuple[str, ...]], ...]
) -> TextClause:
    parts = [*(_insertion(table) for table in new), *(_change(table, *columns) for table, columns in changed)]
    named = ", ".join(f"part{number} AS ({part})" for number, part in enumerate(parts))
    return text(f"WITH {named} SELECT 1")


def _insertion(table: type[Table]) -> str:
    columns = ", ".join(column.key for column in rows_of(table).columns if column.autoincrement is not True)
    return f"INSERT INTO {table.__tablename__} ({columns}) SELECT {columns} FROM {_sent(table)}"


def _change(table: type[Table], key: str, *others: str) -> str:
    name, values = table.__tablename__, ", ".join(f"{other} = sent.{other}" for other in others)
    return f"UPDATE {name} SET {values} FROM {_sent(table)} AS sent WHERE {name}.{key} = sent.{key}"


def _sent(table: type[Table]) -> str:
    name = table.__tablename__
    return f"json_populate_recordset(CAST(NULL AS {name}), CAST(:{name} AS json))"
