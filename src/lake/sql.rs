//! Text to paste: a lake as an engine sees it. Two names a table: as it stands (`temperature`), and without what two recorders both sent
//! (`temperature_once`), which compaction drops for good.
//!
//! No secret is in it: engines read them from the environment, or are set up with them.

use super::kernel::DAY;
use super::place::Place;
use super::{Result, probe};

/// What makes a row another one, within a day.
const KEY: &str = "day, event_type, event_id";
/// Of several copies, the one that stays: always the same.
const FIRST: &str = "received_at, recorder";

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Apache Spark, and Sail, which speaks its SQL.
    Spark,
    /// Trino, with its connector `delta_lake`.
    Trino,
    /// ClickHouse, and chDB.
    Clickhouse,
    /// DuckDB, over the files.
    Duckdb,
    /// Polars, in Python.
    Polars,
    /// Daft, in Python.
    Daft,
}

/// A lake as it is told to engines.
#[derive(Debug, Clone, Copy)]
struct Lake<'a> {
    /// `s3://bucket/prefix/`, `gs://…/`, `az://…/`, or a directory's absolute path; ends in `/`.
    address: &'a str,
    /// Where the store answers, when it is none of Amazon's: `AWS_ENDPOINT`. For Azure, its account.
    endpoint: Option<&'a str>,
    /// The store's region: `AWS_REGION`.
    region: Option<&'a str>,
}

/// A table as its log says.
#[derive(Debug, Clone)]
struct Seen {
    /// Its name in the lake.
    name: String,
    /// Its columns, in order.
    columns: Vec<String>,
    /// Its files: names below the table, as they are on the store.
    files: Vec<String>,
}

/// The text for an engine, of the tables that a lake has at this moment.
///
/// # Errors
/// When there is no lake, when the store refuses or does not answer, when a log does not read.
pub fn script(engine: Engine, place: &Place) -> Result<String> {
    probe::require(place)?;
    let mut tables = Vec::new();
    for table in probe::tables(place)? {
        let name = table.name().to_owned();
        let columns = table.columns()?.fields().iter().map(|field| field.name().clone()).chain([DAY.to_owned()]).collect();
        tables.push(Seen { columns, files: table.files(None)?.into_iter().map(|part| part.path).collect(), name });
    }
    let set = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let address = format!("{}/", place.shown().trim_end_matches('/'));
    let endpoint = match address.split_once("://").map(|(scheme, _)| scheme) {
        Some("s3" | "s3a") => set(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]),
        Some("az" | "azure") => set(&["AZURE_STORAGE_ACCOUNT_NAME"]),
        _ => None,
    };
    let region = set(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    let lake = Lake { address: &address, endpoint: endpoint.as_deref(), region: region.as_deref() };
    Ok(text(engine, &lake, &tables))
}

fn text(engine: Engine, lake: &Lake<'_>, tables: &[Seen]) -> String {
    match engine {
        Engine::Spark => spark(lake, tables),
        Engine::Trino => trino(lake, tables),
        Engine::Clickhouse => clickhouse(lake, tables),
        Engine::Duckdb => duckdb(lake, tables),
        Engine::Polars => polars(lake, tables),
        Engine::Daft => daft(lake, tables),
    }
}

fn spark(lake: &Lake<'_>, tables: &[Seen]) -> String {
    let mut out = head("--", "Spark SQL, also Sail's", lake);
    match lake.scheme() {
        "s3" | "s3a" => push(
            &mut out,
            "-- Sail reads AWS_ACCESS_KEY_ID and so on; Spark wants delta-spark, hadoop-aws and spark.hadoop.fs.s3a.*.\n",
        ),
        "gs" | "az" => push(
            &mut out,
            "-- Sail reads credentials from the environment; Spark wants delta-spark and its connector to the store.\n",
        ),
        _ => {}
    }
    push(&mut out, "-- Read here only: on S3, Spark does not write so that nobody else's commit is lost.\n");
    let address = match (lake.scheme(), lake.endpoint) {
        ("s3", _) => lake.address.replacen("s3://", "s3a://", 1),
        ("az", Some(account)) => {
            let (container, path) = lake.bucket();
            format!("abfss://{container}@{account}.dfs.core.windows.net/{path}")
        }
        _ => lake.address.to_owned(),
    };
    for table in tables {
        let (name, once) = (ticks(&table.name), ticks(&once(&table.name)));
        let location = escaped(&format!("{address}{}", table.name));
        push(&mut out, &format!("\nCREATE TABLE IF NOT EXISTS {name} USING delta LOCATION {location};\n"));
        push(&mut out, &format!("CREATE OR REPLACE VIEW {once} AS\n{};\n", first_of(table, &name, ticks)));
    }
    out
}

fn trino(lake: &Lake<'_>, tables: &[Seen]) -> String {
    let mut out = head("--", "Trino", lake);
    push(
        &mut out,
        "-- Wants a catalog `delta` of the connector delta_lake that knows the store, with delta.register-table-procedure.enabled=true.\n\
         -- Read here only. A table is registered once; the second time Trino says that it is there.\n\n\
         CREATE SCHEMA IF NOT EXISTS delta.overnight;\n",
    );
    let address = if lake.is_directory() { format!("local://{}", lake.address) } else { lake.address.to_owned() };
    for table in tables {
        let lower = table.name.to_lowercase();
        let (name, once) = (format!("delta.overnight.{}", double(&lower)), format!("delta.overnight.{}", double(&once(&lower))));
        let (bare, location) = (single(&lower), single(&format!("{address}{}", table.name)));
        push(
            &mut out,
            &format!(
                "\nCALL delta.system.register_table(schema_name => 'overnight', table_name => {bare},\n  table_location => {location});\n\
                 CREATE OR REPLACE VIEW {once} AS\n{};\n",
                first_of(table, &name, double)
            ),
        );
    }
    out
}

fn clickhouse(lake: &Lake<'_>, tables: &[Seen]) -> String {
    let mut out = head("--", "ClickHouse, also chDB's", lake);
    push(
        &mut out,
        if lake.is_directory() {
            "-- The server reads below its user_files_path only, chDB below the folder that it was started in.\n"
        } else {
            "-- Credentials: of the server's environment, where its setting use_environment_credentials allows that; else as further arguments.\n"
        },
    );
    push(&mut out, "-- A view keeps the columns that there are: make it anew when some have come.\n");
    for table in tables {
        let (name, once) = (ticks(&table.name), ticks(&once(&table.name)));
        push(
            &mut out,
            &format!(
                "\nCREATE OR REPLACE VIEW {name} AS SELECT * FROM {};\n\
                 CREATE OR REPLACE VIEW {once} AS SELECT * FROM {name} ORDER BY {KEY}, {FIRST} LIMIT 1 BY {KEY};\n",
                clickhouse_table(lake, &table.name)
            ),
        );
    }
    out
}

/// A table as ClickHouse's function of it.
fn clickhouse_table(lake: &Lake<'_>, table: &str) -> String {
    let (bucket, path) = lake.bucket();
    match (lake.scheme(), lake.endpoint) {
        ("s3" | "s3a", Some(endpoint)) => {
            format!("deltaLake({})", escaped(&format!("{}/{bucket}/{path}{table}/", endpoint.trim_end_matches('/'))))
        }
        ("s3" | "s3a", None) => {
            let region = lake.region.unwrap_or("us-east-1");
            format!("deltaLake({})", escaped(&format!("https://{bucket}.s3.{region}.amazonaws.com/{path}{table}/")))
        }
        ("gs", _) => format!("deltaLake({})", escaped(&format!("https://storage.googleapis.com/{bucket}/{path}{table}/"))),
        ("az", account) => {
            let account = escaped(&format!("https://{}.blob.core.windows.net", account.unwrap_or("ACCOUNT")));
            format!("deltaLakeAzure({account}, {}, {})", escaped(bucket), escaped(&format!("{path}{table}/")))
        }
        _ => format!("deltaLakeLocal({})", escaped(&format!("{}{table}/", lake.address))),
    }
}

fn duckdb(lake: &Lake<'_>, tables: &[Seen]) -> String {
    let mut out = head("--", "DuckDB", lake);
    push(
        &mut out,
        "-- Over the files that the log names at this moment: make it anew after each shipment. What is compacted since is still there for\n\
         -- seven days. With DuckDB's extension delta a view follows the log: SELECT * FROM delta_scan('…') with a table's address.\n",
    );
    if !lake.is_directory() {
        let kind = if lake.scheme() == "az" { "azure" } else { "s3" };
        let secret = match lake.endpoint.and_then(|endpoint| endpoint.split_once("://")) {
            Some((scheme, host)) if kind == "s3" => {
                format!(", ENDPOINT {}, USE_SSL {}, URL_STYLE 'path'", single(host.trim_end_matches('/')), scheme == "https")
            }
            _ => String::new(),
        };
        push(
            &mut out,
            &format!(
                "-- Credentials are read from the environment.\nCREATE OR REPLACE SECRET lake (TYPE {kind}, PROVIDER credential_chain{secret});\n"
            ),
        );
    }
    for table in tables.iter().filter(|table| !table.files.is_empty()) {
        let (name, once) = (double(&table.name), double(&once(&table.name)));
        let files: Vec<String> =
            table.files.iter().map(|file| single(&format!("{}{}/{file}", lake.address, table.name))).collect();
        push(
            &mut out,
            &format!(
                "\nCREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet([\n  {}\n], union_by_name = true, hive_partitioning = true, \
                 hive_types = {{'day': DATE}});\n\
                 CREATE OR REPLACE VIEW {once} AS SELECT * FROM {name}\nQUALIFY row_number() OVER (PARTITION BY {KEY} ORDER BY {FIRST}) = 1;\n",
                files.join(",\n  ")
            ),
        );
    }
    out
}

fn polars(lake: &Lake<'_>, tables: &[Seen]) -> String {
    let mut out = head("#", "Polars, with the package deltalake", lake);
    let options = match (lake.scheme(), lake.endpoint) {
        ("s3" | "s3a", Some(endpoint)) => {
            format!("{{\"aws_endpoint\": {}, \"aws_allow_http\": \"true\"}}", python(endpoint))
        }
        _ => "None".to_owned(),
    };
    push(
        &mut out,
        &format!(
            "import polars as pl\n\nlake = {}\noptions = {options}  # credentials are read from the environment\n\
             tables = {{name: pl.scan_delta(lake + name, storage_options=options) for name in {}}}\n\n\n\
             def once(frame):\n    \"\"\"Without what two recorders both sent.\"\"\"\n    return frame.unique(subset={})\n",
            python(lake.address),
            names(tables),
            key_in_python()
        ),
    );
    example(&mut out, tables, "once(tables[NAME]).group_by(\"day\").len().collect()");
    out
}

fn daft(lake: &Lake<'_>, tables: &[Seen]) -> String {
    let mut out = head("#", "Daft, with the package deltalake; on Ray after daft.set_runner_ray()", lake);
    let (import, options) = match (lake.scheme(), lake.endpoint) {
        ("s3" | "s3a", Some(endpoint)) => (
            "from daft.io import IOConfig, S3Config\n",
            format!(
                "IOConfig(s3=S3Config.from_env().replace(endpoint_url={}, use_ssl={}))",
                python(endpoint),
                if endpoint.starts_with("https") { "True" } else { "False" }
            ),
        ),
        _ => ("", "None".to_owned()),
    };
    push(
        &mut out,
        &format!(
            "import daft\n{import}\nlake = {}\noptions = {options}  # credentials are read from the environment\n\
             tables = {{name: daft.read_deltalake(lake + name, io_config=options) for name in {}}}\n\n\n\
             def once(frame):\n    \"\"\"Without what two recorders both sent.\"\"\"\n    return frame.distinct(*{})\n",
            python(lake.address),
            names(tables),
            key_in_python()
        ),
    );
    example(&mut out, tables, "once(tables[NAME]).groupby(\"day\").agg(daft.col(\"event_id\").count()).to_pydict()");
    out
}

/// A question to begin with, as a comment.
fn example(out: &mut String, tables: &[Seen], question: &str) {
    if let Some(table) = tables.first() {
        push(out, &format!("\n\n# {}\n", question.replace("NAME", &python(&table.name))));
    }
}

fn head(comment: &str, engine: &str, lake: &Lake<'_>) -> String {
    let lake = crate::base::text::one_line(lake.address);
    format!("{comment} {lake}, for {engine}. TABLE is what is there, TABLE_once the same without what two recorders both sent.\n")
}

/// A query for the first copy of each row, for engines that have no shorter way.
fn first_of(table: &Seen, name: &str, quote: fn(&str) -> String) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quote(column)).collect();
    format!(
        "SELECT {}\nFROM (SELECT *, row_number() OVER (PARTITION BY {KEY} ORDER BY {FIRST}) AS copy_number FROM {name}) AS copies\nWHERE copy_number = 1",
        columns.join(", ")
    )
}

impl<'a> Lake<'a> {
    fn scheme(&self) -> &'a str {
        self.address.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    fn is_directory(&self) -> bool {
        self.scheme().is_empty()
    }

    /// Bucket or container, and what stands behind it; the latter is empty or ends in `/`.
    fn bucket(&self) -> (&'a str, &'a str) {
        let rest = self.address.split_once("://").map_or(self.address, |(_, rest)| rest);
        rest.split_once('/').unwrap_or((rest, ""))
    }
}

fn once(name: &str) -> String {
    format!("{name}_once")
}

fn names(tables: &[Seen]) -> String {
    let names: Vec<String> = tables.iter().map(|table| python(&table.name)).collect();
    format!("[{}]", names.join(", "))
}

fn key_in_python() -> String {
    let columns: Vec<String> = KEY.split(", ").map(python).collect();
    format!("[{}]", columns.join(", "))
}

/// An identifier between backticks.
fn ticks(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// An identifier in standard SQL.
fn double(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in standard SQL.
fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A text where a backslash escapes.
fn escaped(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A text in Python, as in JSON.
fn python(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push(out: &mut String, text: &str) {
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Engine; 6] = [Engine::Spark, Engine::Trino, Engine::Clickhouse, Engine::Duckdb, Engine::Polars, Engine::Daft];

    fn tables() -> Vec<Seen> {
        let columns = ["time", "temperature", "event_id", "event_type", "received_at", "recorder", "day"];
        vec![Seen {
            name: "temperature".to_owned(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            files: vec!["day=2026-11-23/part-a-1-b.parquet".to_owned()],
        }]
    }

    fn at<'a>(address: &'a str, endpoint: Option<&'a str>) -> Lake<'a> {
        Lake { address, endpoint, region: Some("eu-north-1") }
    }

    #[test]
    fn each_engine_is_told_where_the_table_is() {
        let clickhouse = |lake| text(Engine::Clickhouse, &lake, &tables());
        assert!(clickhouse(at("s3://b/x/", None)).contains("deltaLake('https://b.s3.eu-north-1.amazonaws.com/x/temperature/')"));
        assert!(clickhouse(at("s3://b/x/", Some("http://host:1/"))).contains("deltaLake('http://host:1/b/x/temperature/')"));
        assert!(clickhouse(at("gs://b/", None)).contains("deltaLake('https://storage.googleapis.com/b/temperature/')"));
        let azure = "deltaLakeAzure('https://me.blob.core.windows.net', 'c', 'x/temperature/')";
        assert!(clickhouse(at("az://c/x/", Some("me"))).contains(azure));
        assert!(clickhouse(at("/a/b/", None)).contains("deltaLakeLocal('/a/b/temperature/')"));
        let spark = |lake| text(Engine::Spark, &lake, &tables());
        assert!(spark(at("s3://b/x/", None)).contains("LOCATION 's3a://b/x/temperature';"));
        assert!(spark(at("az://c/x/", Some("me"))).contains("LOCATION 'abfss://c@me.dfs.core.windows.net/x/temperature';"));
        assert!(text(Engine::Trino, &at("s3://b/x/", None), &tables()).contains("table_location => 's3://b/x/temperature'"));
        let duckdb = text(Engine::Duckdb, &at("s3://b/x/", Some("https://host:1")), &tables());
        assert!(duckdb.contains("'s3://b/x/temperature/day=2026-11-23/part-a-1-b.parquet'"), "{duckdb}");
        assert!(duckdb.contains("ENDPOINT 'host:1', USE_SSL true"), "{duckdb}");
    }

    #[test]
    fn what_people_name_folders_ends_no_string() {
        let address = "/it's a \"lake\"\\of `mine`\nDROP TABLE x/";
        for engine in ALL {
            let text = text(engine, &at(address, None), &tables());
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("--") || first.starts_with('#'));
            assert!(!text.lines().nth(1).unwrap_or_default().starts_with("DROP"), "{text}");
        }
        assert!(text(Engine::Duckdb, &at(address, None), &tables()).contains("'/it''s a"));
        assert!(text(Engine::Spark, &at(address, None), &tables()).contains("'/it\\'s a \"lake\"\\\\of"));
        assert!(
            text(Engine::Polars, &at(address, None), &tables()).contains("lake = \"/it's a \\\"lake\\\"\\\\of `mine`\\nDROP")
        );
    }

    #[test]
    fn a_lake_without_tables_has_no_statement_that_is_half() {
        for engine in ALL {
            let text = text(engine, &at("/a/", None), &[]);
            assert!(!text.contains("[\n]") && !text.contains("NAME"), "{text}");
        }
    }
}
