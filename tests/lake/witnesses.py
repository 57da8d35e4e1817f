"""Who looks at a table: each engine gives the same facts of it, day by day, by its own means.

Facts of a table are `{day: {fact: number}}`. Facts of a day: `rows`; `ids`, the distinct ones; `first` and `last`, times in microseconds
since 1970; for each column `nulls NAME`; for numbers `sum NAME`; for lists `items NAME`, the sum of their lengths.
"""

import math

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

# What the lake adds.
OURS = ("recorder", "day")


def is_number(kind):
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def is_list(kind):
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def measures(schema):
    """What is told of a table with these columns: (what, column) by name, sorted."""
    found = []
    for column in schema:
        if column.name in OURS:
            continue
        found.append(("nulls", column.name))
        if is_number(column.type):
            found.append(("sum", column.name))
        if is_list(column.type):
            found.append(("items", column.name))
    return sorted(found)


def differences(facts, truth):
    """In what two facts differ, in words."""
    words = []
    for day in sorted({*facts, *truth}):
        if day not in facts or day not in truth:
            words.append(f"{day} is {'missing' if day in truth else 'too much'}")
            continue
        for name in sorted({*facts[day], *truth[day]}):
            found, wanted = facts[day].get(name), truth[day].get(name)
            same = found == wanted or (None not in (found, wanted) and name.startswith("sum ") and math.isclose(found, wanted, rel_tol=1e-9))
            if not same:
                words.append(f"{day}: {name} is {found}, not {wanted}")
    return words


def by_arrow(table):
    """Facts by Arrow's own functions, of a table that has `day`, or gets it from `time`."""
    if "day" not in table.column_names:
        table = table.append_column("day", pc.strftime(table["time"], format="%Y-%m-%d"))
    days = pc.cast(table["day"], pa.string())
    return {day: of_arrow(table.filter(pc.equal(days, day))) for day in pc.unique(days).to_pylist()}


def of_arrow(table):
    span = pc.min_max(pc.cast(table["time"], pa.int64()))
    facts = {
        "rows": table.num_rows,
        "ids": pc.count_distinct(table["event_id"]).as_py(),
        "first": span["min"].as_py(),
        "last": span["max"].as_py(),
    }
    for what, name in measures(table.schema):
        column = table[name]
        if what == "nulls":
            facts[f"nulls {name}"] = column.null_count
        elif what == "sum":
            facts[f"sum {name}"] = pc.sum(column).as_py()
        else:
            facts[f"items {name}"] = pc.sum(pc.list_value_length(column)).as_py() or 0
    return facts


def by_polars(frame, schema):
    """Facts by Polars, of a lazy frame."""
    told = [
        pl.len().alias("rows"),
        pl.col("event_id").n_unique().alias("ids"),
        pl.col("time").dt.epoch("us").min().alias("first"),
        pl.col("time").dt.epoch("us").max().alias("last"),
    ]
    for what, name in measures(schema):
        column = pl.col(name)
        if what == "nulls":
            told.append(column.null_count().alias(f"nulls {name}"))
        elif what == "sum":
            # Of nothing but nulls, the others have no sum.
            told.append(pl.when(column.count() > 0).then(column.sum()).alias(f"sum {name}"))
        else:
            told.append(column.list.len().sum().alias(f"items {name}"))
    rows = frame.group_by(pl.col("day").cast(pl.String)).agg(told).collect().to_dicts()
    return {row.pop("day"): row for row in rows}


class Spark:
    """How Spark says it; Sail too."""

    quote, text, micros, length = "`", "CAST({} AS STRING)", "unix_micros({})", "size({})"
    nulls_of_lists = True


class ClickHouse:
    quote, text, micros, length = "`", "toString({})", "toUnixTimestamp64Micro({})", "length({})"
    # Its arrays are never null.
    nulls_of_lists = False


class DuckDB:
    quote, text, micros, length = '"', "CAST({} AS VARCHAR)", "epoch_us({})", "len({})"
    nulls_of_lists = True


def by_sql(ask, table, schema, dialect):
    """Facts by SQL: `ask` gives the rows of a query as lists."""
    names = ["rows", "ids", "first", "last"]
    told = ["count(*)", "count(DISTINCT event_id)", dialect.micros.format("min(time)"), dialect.micros.format("max(time)")]
    for what, name in measures(schema):
        column = f"{dialect.quote}{name}{dialect.quote}"
        if what == "nulls":
            if is_list(schema.field(name).type) and not dialect.nulls_of_lists:
                continue
            told.append(f"sum(CASE WHEN {column} IS NULL THEN 1 ELSE 0 END)")
        elif what == "sum":
            told.append(f"sum({column})")
        else:
            told.append(f"sum(CASE WHEN {column} IS NULL THEN 0 ELSE {dialect.length.format(column)} END)")
        names.append(f"{what} {name}")
    rows = ask(f"SELECT {dialect.text.format('day')} AS the_day, {', '.join(told)} FROM {table} GROUP BY the_day")
    return {row[0]: dict(zip(names, row[1:])) for row in rows}


def without_nulls_of_lists(facts, schema):
    """What of facts those can tell whose lists are never null."""
    lists = {f"nulls {column.name}" for column in schema if is_list(column.type)}
    return {day: {name: value for name, value in told.items() if name not in lists} for day, told in facts.items()}
