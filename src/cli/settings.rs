//! `overnight settings`: what `record` would go by, and where each value comes from. Secrets are never shown.

use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;

use crate::base::disk::Readers;
use crate::cloud::client::{API_URL, TOKEN_URL};
use crate::model::settings::{File, Filters};

use super::connection::time_of;
use super::receiver::SECRET;
use super::{Failure, Outcome, each_once, record, show};

#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(after_help = "\
Takes the flags of `record`, and says what a recorder with these would go by: flags before variables of the environment, these before
overnight.toml in the recording, that before what is usual. Nothing is asked of the cloud.")]
pub(super) struct Args {
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    record: record::Args,
}

/// One of them.
#[derive(Debug, Serialize)]
struct Setting {
    /// What it is called, in overnight.toml if it can stand there.
    key: String,
    value: String,
    /// A flag, a variable, a file, or `default`.
    from: String,
}

pub(super) fn run(args: &Args, matches: &ArgMatches) -> Result<Outcome, Failure> {
    let layout = args.record.recording.layout();
    let (path, file) = (layout.settings(), File::read(&layout.settings())?);
    let table = Table { matches, path: path.display().to_string(), rows: Vec::new() };
    let rows = table.fill(args, &file)?;
    if args.json {
        say!("{}", show::json(&rows)?);
    } else {
        let rows = rows.into_iter().map(|Setting { key, value, from }| vec![key, value, from]).collect();
        say!("{}", show::table(&["setting", "value", "from"], &[], &[1, 2], rows));
    }
    Ok(Outcome::Done)
}

struct Table<'m> {
    matches: &'m ArgMatches,
    path: String,
    rows: Vec<Setting>,
}

impl Table<'_> {
    fn fill(mut self, args: &Args, file: &File) -> Result<Vec<Setting>, Failure> {
        self.add("dir", None, "");
        let listed = |words: &[String]| Some(words.join(", ")).filter(|words| !words.is_empty());
        self.add("project", listed(&file.projects()), "none: give --project, or set DT_PROJECT_ID");
        self.filters("", &file.filters("", &Filters::default()));
        let refused = |error: crate::model::settings::SettingsError| Some(format!("refused: {error}"));
        self.add("api_url", file.api_url().map_or_else(refused, |url| url.map(str::to_owned)), API_URL);
        self.account("", args, None);
        let token_url = file.token_url().map_or_else(refused, |url| url.map(str::to_owned));
        let named = args.record.connection.credentials(None).ok().and_then(|found| found.token_url);
        match named {
            Some(url) if self.given("token_url").is_none() => self.push("token_url", url, "the credentials file"),
            _ => self.add("token_url", token_url, &format!("{TOKEN_URL}, or /oauth2/token at another api_url")),
        }
        for project in each_once(&file.projects()) {
            self.filters(&format!("projects.{project}."), &file.filters_of(&project));
            if let Some(credentials) = file.credentials(&project)? {
                self.account(&format!("projects.{project}."), args, Some(&credentials));
            }
        }
        for (key, said, usual) in file.times() {
            for time in said.iter().flatten() {
                time_of(Some(time))?;
            }
            self.add(key, said.map(|times| times.join(", ")), usual);
        }
        for (key, usual) in [("rotate_after", ""), ("accept", ""), ("max_retries", "never give up"), ("linger", "not at all")] {
            self.add(key, None, usual);
        }
        self.add(
            "archive",
            file.archive().map_or_else(refused, |to| to.map(|to| to.display().to_string())),
            "none: what is pruned is gone",
        );
        self.add("listen", file.listen()?.map(|address| address.to_string()), "nowhere");
        self.add("secret_file", None, "none");
        for (key, value) in file.told() {
            let path = self.path.clone();
            self.push(&key, value, &path);
        }
        let readers = file.readers().map_or_else(refused, |readers| (readers == Readers::Group).then(|| "true".to_owned()));
        self.add("group_read", readers, "false: day files are yours alone");
        self.add("metrics", file.metrics()?.map(|address| address.to_string()), "nowhere");
        self.add("page", file.page()?.map(|address| address.to_string()), "nowhere");
        self.add("token_file", file.token_file()?.map(|path| path.display().to_string()), "none");
        // An address that carries more than a place is refused, and not shown.
        let is_plain = |url: &&str| !url.contains(['@', '?', '#']);
        let lake = file.lake()?.map(|url| Some(url).filter(is_plain).unwrap_or("***").to_owned());
        self.add("lake.url", lake, "none: nothing is shipped");
        if std::env::var_os(SECRET).is_some_and(|secret| !secret.is_empty()) {
            self.push("signature secret", "***".to_owned(), SECRET);
        }
        Ok(self.rows)
    }

    /// A value by flag, variable, file, or as usual.
    fn add(&mut self, key: &str, of_file: Option<String>, usual: &str) {
        let (value, from) = match (self.given(key), of_file) {
            (Some((value, from)), of_file) if from != "default" || of_file.is_none() => (value, from),
            (_, Some(value)) => (value, self.path.clone()),
            (_, None) => (usual.to_owned(), "default".to_owned()),
        };
        self.push(key, value, &from);
    }

    fn push(&mut self, key: &str, value: String, from: &str) {
        self.rows.push(Setting { key: key.to_owned(), value, from: from.to_owned() });
    }

    /// What a flag or its variable says, and which of both.
    fn given(&self, key: &str) -> Option<(String, String)> {
        let known = self.matches.try_get_raw(key).ok()??;
        let words: Vec<_> = known.map(|word| word.to_string_lossy().into_owned()).collect();
        let variable = match key {
            "project" => "DT_PROJECT_ID",
            "api_url" => "DT_API_URL",
            _ => "DT_TOKEN_URL",
        };
        let from = match self.matches.value_source(key)? {
            ValueSource::EnvVariable => variable.to_owned(),
            ValueSource::CommandLine => format!("--{}", key.replace('_', "-")),
            _ => "default".to_owned(),
        };
        Some((words.join(", "), from))
    }

    fn filters(&mut self, of: &str, filters: &Filters) {
        let Filters { event_types, devices, device_types, labels, product_numbers } = filters;
        let all = [
            ("event_type", event_types),
            ("device", devices),
            ("device_type", device_types),
            ("label", labels),
            ("product_number", product_numbers),
        ];
        for (key, words) in all {
            let words = Some(words.join(", ")).filter(|words| !words.is_empty());
            match (of, words) {
                ("", words) => self.add(key, words, "all"),
                // What is given by flag holds for all of them.
                (of, Some(words)) if self.given(key).is_none() => {
                    let path = self.path.clone();
                    self.push(&format!("{of}{key}"), words, &path);
                }
                _ => {}
            }
        }
    }

    /// Who asks.
    fn account(&mut self, of: &str, args: &Args, own: Option<&Path>) {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let file = self.given("credentials").map(|(path, flag)| format!("{path} ({flag})"));
        let file = file.or_else(|| own.map(|path| format!("{} ({})", path.display(), self.path)));
        let file = file.or_else(|| variable("DT_CREDENTIALS_FILE").map(|path| format!("{path} (DT_CREDENTIALS_FILE)")));
        let from = |name: &str| file.clone().unwrap_or_else(|| name.to_owned());
        match args.record.connection.credentials(own) {
            Err(error) => self.push(&format!("{of}credentials"), error.to_string(), &from("none")),
            Ok(found) => {
                self.push(&format!("{of}key id"), found.key_id, &from("DT_SERVICE_ACCOUNT_KEY_ID"));
                self.push(&format!("{of}secret"), "***".to_owned(), &from("DT_SERVICE_ACCOUNT_SECRET"));
                let (email, name) = match found.email {
                    Some(email) => (email, from("DT_SERVICE_ACCOUNT_EMAIL")),
                    None => ("none: Basic auth, no OAuth2".to_owned(), "default".to_owned()),
                };
                self.push(&format!("{of}email"), email, &name);
            }
        }
    }
}
