//! `[[alert]]`, `[[notify]]` and `[ping]` of `overnight.toml`: who is told of what, and how.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::base::text::{instead, printable};
use crate::base::time::{self, Micros, SECOND};

use super::{Secret, SettingsError, duration, read_secret};

/// Most alerts, and most ways to tell of them.
const MOST: usize = 100;
/// Longest name.
const NAME_MAX: usize = 60;

/// An alert as it is written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertText {
    name: String,
    when: String,
    r#type: Option<Words>,
    column: Option<String>,
    label: Option<Words>,
    device: Option<Words>,
    device_type: Option<Words>,
    value: Option<f64>,
    clear: Option<f64>,
    r#for: Option<String>,
    hold: Option<String>,
    repeat: Option<String>,
    to: Option<Words>,
}

/// Where a message goes, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotifyText {
    name: String,
    form: Option<String>,
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    command: Option<Vec<String>>,
}

/// A dead man's switch, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PingText {
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    every: Option<String>,
}

/// One word or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    All(Vec<String>),
}

impl Words {
    fn list(words: Option<&Self>) -> Vec<String> {
        match words {
            None => Vec::new(),
            Some(Self::One(word)) => vec![word.clone()],
            Some(Self::All(words)) => words.clone(),
        }
    }
}

/// Who is told of what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerting {
    /// What is told.
    pub rules: Vec<Rule>,
    /// Where to.
    pub sinks: Vec<Sink>,
    /// Who is told that all is well, as long as it is.
    pub ping: Option<Ping>,
    /// What may not be as it is meant.
    pub warnings: Vec<String>,
}

impl Alerting {
    /// True where nobody is to be told of anything.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.ping.is_none()
    }
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// A device measures more than a value.
    Above,
    /// A device measures less than a value.
    Below,
    /// A device has told nothing for so long, while it could be heard.
    Silent,
    /// A device's battery is low.
    Battery,
    /// Nobody records a project, or its recorder hears nothing.
    Recorder,
    /// A gap is not filled.
    Gap,
    /// There is little room on the disk.
    Disk,
    /// There is no backup, or only an old one.
    Backup,
}

/// All of them, by name.
const WHENS: [(&str, When); 8] = [
    ("above", When::Above),
    ("below", When::Below),
    ("silent", When::Silent),
    ("battery", When::Battery),
    ("recorder", When::Recorder),
    ("gap", When::Gap),
    ("disk", When::Disk),
    ("backup", When::Backup),
];

impl When {
    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        WHENS.iter().find(|(_, when)| *when == self).map_or("", |(name, _)| name)
    }

    /// Whether it is about devices.
    pub fn is_of_devices(self) -> bool {
        matches!(self, Self::Above | Self::Below | Self::Silent | Self::Battery)
    }

    /// Whether it is about what devices measure.
    pub fn is_of_values(self) -> bool {
        matches!(self, Self::Above | Self::Below | Self::Battery)
    }
}

/// An alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub when: When,
    /// Event types; none: all, where that makes sense.
    pub types: Vec<String>,
    /// The column of a value, where it is not the one that the event type is about.
    pub column: Option<String>,
    /// Labels that devices have to have, with or without a value.
    pub labels: Vec<(String, Option<String>)>,
    /// Devices by id or name; none: all.
    pub devices: Vec<String>,
    /// Types of devices; none: all.
    pub device_types: Vec<String>,
    /// The value that is too high or too low: of a sensor in its unit, of a battery in percent, of a disk free gigabytes.
    pub value: Option<f64>,
    /// It is well again at this value.
    pub clear: Option<f64>,
    /// It has to last so long.
    pub lasts: Micros,
    /// It has to be well again for so long.
    pub hold: Micros,
    /// So often it is told again while it lasts.
    pub repeat: Option<Micros>,
    /// Names of those who are told.
    pub to: Vec<String>,
}

/// What a message looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON object with everything.
    Json,
    /// Plain text.
    Text,
    /// As ntfy takes it.
    Ntfy,
    /// As Slack's webhooks take it.
    Slack,
    /// As webhooks of Teams' workflows take it.
    Teams,
}

/// All of them, by name.
const FORMS: [(&str, Form); 5] =
    [("json", Form::Json), ("text", Form::Text), ("ntfy", Form::Ntfy), ("slack", Form::Slack), ("teams", Form::Teams)];

impl Form {
    /// Its name in the settings.
    pub fn name(self) -> &'static str {
        FORMS.iter().find(|(_, form)| *form == self).map_or("", |(name, _)| name)
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// What it is called.
    pub name: String,
    /// How.
    pub to: To,
}

/// By which way.
#[derive(Clone, PartialEq, Eq)]
pub enum To {
    /// A POST to an address, which nobody else may know.
    Url(Form, Secret),
    /// A program, with JSON on its standard input.
    Command(Vec<String>),
}

impl fmt::Debug for To {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(form, _) => write!(out, "{} to ***", form.name()),
            // Its arguments may be secrets, too.
            Self::Command(command) => write!(out, "command {:?}", command.first()),
        }
    }
}

/// A dead man's switch: somebody else tells people when this no longer comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// What is asked for.
    pub url: Secret,
    /// How often.
    pub every: Micros,
}

/// Reads what is written, beside the folder that files are named from; says what is wrong with it.
pub(super) fn read(
    (alerts, notify, ping): (&[AlertText], &[NotifyText], Option<&PingText>),
    folder: &Path,
    path: &Path,
) -> Result<Alerting, SettingsError> {
    let fail = |what: String| SettingsError::File { path: path.to_owned(), what };
    if alerts.len() > MOST || notify.len() > MOST {
        return Err(fail(format!("more than {MOST} [[alert]] or [[notify]]")));
    }
    let (mut sinks, mut warnings): (Vec<Sink>, Vec<String>) = (Vec::new(), Vec::new());
    for text in notify {
        let name = named(&text.name, "notify", sinks.iter().map(|sink| sink.name.as_str())).map_err(&fail)?;
        let told = |what: &str| fail(format!("[[notify]] {name:?}: {what}"));
        let form = match &text.form {
            None => Form::Json,
            Some(word) => {
                one_of(word, &FORMS).map_err(|instead| told(&format!("no form {:?}; {instead}", printable(word, 40))))?
            }
        };
        let to = match (
            &text.command,
            address(text.url.as_ref(), text.url_file.as_deref(), folder).map_err(|what| match what {
                Ok(what) => told(what),
                Err(error) => error,
            })?,
        ) {
            (Some(command), None) if command.first().is_some_and(|program| !program.is_empty()) => To::Command(command.clone()),
            (None, Some(url)) => To::Url(form, url),
            (None, None) => return Err(told("where to? Give url_file = \"FILE\" with the address in it, or command = [\"…\"]")),
            _ => return Err(told("give either an address or a command that is not empty")),
        };
        if text.url.is_some() {
            warnings.push(format!(
                "[[notify]] {name:?}: whoever knows the address can write there; better keep it in a file of its own, url_file"
            ));
        }
        sinks.push(Sink { name, to });
    }
    let mut rules: Vec<Rule> = Vec::new();
    for text in alerts {
        let name = named(&text.name, "alert", rules.iter().map(|rule| rule.name.as_str())).map_err(&fail)?;
        let rule = rule(text, name.clone(), &sinks).map_err(|what| fail(format!("[[alert]] {name:?}: {what}")))?;
        rules.push(rule);
    }
    if !rules.is_empty() && sinks.is_empty() {
        return Err(fail("there are alerts, and nobody whom to tell: add a [[notify]]".to_owned()));
    }
    let ping = match ping {
        None => None,
        Some(text) => {
            let told = |what: &str| fail(format!("[ping]: {what}"));
            let url = address(text.url.as_ref(), text.url_file.as_deref(), folder).map_err(|what| match what {
                Ok(what) => told(what),
                Err(error) => error,
            })?;
            let url = url.ok_or_else(|| told("where to? Give url_file = \"FILE\" with the address in it"))?;
            let every = length(text.every.as_deref(), 60 * SECOND).map_err(|what| told(&what))?;
            if every < SECOND {
                return Err(told("every is at least 1s"));
            }
            Some(Ping { url, every })
        }
    };
    Ok(Alerting { rules, sinks, ping, warnings })
}

/// An address, from a file of its own or as it stands.
fn address(
    url: Option<&Secret>,
    file: Option<&Path>,
    folder: &Path,
) -> Result<Option<Secret>, Result<&'static str, SettingsError>> {
    let url = match (url, file) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(Ok("give url or url_file, not both")),
        (Some(url), None) => url.clone(),
        (None, Some(file)) => read_secret(&folder.join(file)).map_err(Err)?,
    };
    let is_one =
        ["http://", "https://"].iter().any(|scheme| url.reveal().len() > scheme.len() && url.reveal().starts_with(scheme));
    if is_one { Ok(Some(url)) } else { Err(Ok("the address has to begin with https:// or http://")) }
}

fn named<'n>(name: &str, of: &str, mut others: impl Iterator<Item = &'n str>) -> Result<String, String> {
    let shown = printable(name, NAME_MAX);
    if shown.trim().is_empty() || shown != name {
        return Err(format!("a name of an [[{of}]] has 1 to {NAME_MAX} characters, not {shown:?}"));
    }
    if others.any(|other| other == name) {
        return Err(format!("two [[{of}]] are called {name:?}"));
    }
    Ok(name.to_owned())
}

fn one_of<T: Copy>(word: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, of)| *of);
    found.ok_or_else(|| instead(word, &known.iter().map(|(name, _)| *name).collect::<Vec<_>>()))
}

fn length(text: Option<&str>, usual: Micros) -> Result<Micros, String> {
    text.map_or(Ok(usual), |text| duration(text).map(time::micros).map_err(|error| error.to_string()))
}

fn rule(text: &AlertText, name: String, sinks: &[Sink]) -> Result<Rule, String> {
    let when = one_of(&text.when, &WHENS).map_err(|instead| format!("no when {:?}; {instead}", printable(&text.when, 40)))?;
    let types = Words::list(text.r#type.as_ref());
    let (value, clear) = match when {
        When::Battery => (Some(text.value.unwrap_or(10.0)), text.clear.or(Some(text.value.unwrap_or(10.0) + 5.0))),
        When::Disk => (text.value, text.clear.or(text.value.map(|value| value * 1.1))),
        _ => (text.value, text.clear.or(text.value)),
    };
    let misplaced = [
        ("value", text.value.is_some() && !when.is_of_values() && when != When::Disk),
        ("clear", text.clear.is_some() && (text.value.is_none() || !when.is_of_values() && when != When::Disk)),
        ("type", text.r#type.is_some() && !matches!(when, When::Above | When::Below | When::Silent)),
        ("column", text.column.is_some() && !matches!(when, When::Above | When::Below)),
        ("label", text.label.is_some() && !when.is_of_devices()),
        ("device", text.device.is_some() && !when.is_of_devices()),
        ("device_type", text.device_type.is_some() && !when.is_of_devices()),
    ];
    if let Some((key, _)) = misplaced.iter().find(|(_, is_misplaced)| *is_misplaced) {
        return Err(format!("{key} says nothing here, where when = {:?}; leave it out", when.name()));
    }
    if let Some(value) = [value, clear].into_iter().flatten().find(|value| !value.is_finite()) {
        return Err(format!("{value} is no value that anything could be compared with"));
    }
    if matches!(when, When::Above | When::Below) {
        if types.is_empty() {
            return Err("of which event type? Give type = \"temperature\" or another one".to_owned());
        }
        if value.is_none() {
            return Err(format!("{} which value? Give value = 8", when.name()));
        }
    }
    if let (Some(value), Some(clear)) = (value, clear)
        && if when == When::Above { clear > value } else { clear < value }
    {
        return Err(format!(
            "clear = {clear} lies on the wrong side of value = {value}: there it is too {}",
            if when == When::Above { "high" } else { "low" }
        ));
    }
    let minute = 60 * SECOND;
    let lasts = match when {
        When::Silent => 180 * minute,
        When::Recorder => minute,
        When::Gap => 5 * minute,
        When::Backup => 2 * 24 * 60 * minute,
        _ => 0,
    };
    let hold = if when.is_of_values() || when == When::Disk { 5 * minute } else { 0 };
    let to = Words::list(text.to.as_ref());
    let known: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
    if let Some(stranger) = to.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("no [[notify]] is called {:?}; {}", printable(stranger, 40), instead(stranger, &known)));
    }
    let to = if to.is_empty() { known.iter().map(|name| (*name).to_owned()).collect() } else { to };
    let labels = Words::list(text.label.as_ref()).into_iter().map(|label| match label.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (label, None),
    });
    let lasts = length(text.r#for.as_deref(), lasts)?;
    if when == When::Silent && lasts < minute {
        return Err("silent for less than a minute is nothing that anybody could tell; give for = \"3h\"".to_owned());
    }
    Ok(Rule {
        name,
        when,
        types: if when == When::Battery { vec!["batteryStatus".to_owned()] } else { types },
        column: if when == When::Battery { Some("percentage".to_owned()) } else { text.column.clone() },
        labels: labels.collect(),
        devices: Words::list(text.device.as_ref()),
        device_types: Words::list(text.device_type.as_ref()),
        value,
        clear,
        lasts,
        hold: length(text.hold.as_deref(), hold)?,
        repeat: text
            .repeat
            .as_deref()
            .map(|repeat| length(Some(repeat), 0))
            .transpose()?
            .filter(|repeat| *repeat > 0)
            .map(|repeat| repeat.max(minute)),
        to,
    })
}

/// What is written, for whoever wants to see it: never an address.
pub(super) fn said((alerts, notify, ping): (&[AlertText], &[NotifyText], Option<&PingText>)) -> Vec<(String, String)> {
    let ways = notify.iter().map(|notify| {
        let to = match (&notify.url_file, &notify.command) {
            (Some(file), _) => format!("address in {}", file.display()),
            (None, Some(command)) => format!("command {}", command.first().map_or("", String::as_str)),
            (None, None) => "address ***".to_owned(),
        };
        (format!("notify.{}", printable(&notify.name, NAME_MAX)), format!("{}, {to}", notify.form.as_deref().unwrap_or("json")))
    });
    let alerts = alerts.iter().map(|alert| {
        let value = alert.value.map_or_else(String::new, |value| format!(" {value}"));
        let lasts = alert.r#for.as_deref().map_or_else(String::new, |lasts| format!(" for {lasts}"));
        (format!("alert.{}", printable(&alert.name, NAME_MAX)), format!("{}{value}{lasts}", printable(&alert.when, 40)))
    });
    let ping = ping.map(|ping| ("ping".to_owned(), format!("every {}", ping.every.as_deref().unwrap_or("1m"))));
    ways.chain(alerts).chain(ping).collect()
}

#[cfg(test)]
mod tests {
    use super::super::File;
    use super::*;

    fn read(text: &str) -> Result<Alerting, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overnight.toml");
        for (name, text) in [("ntfy.url", "https://ntfy.example/hidden-topic\n"), ("hc.url", "https://hc.example/hidden-check")] {
            let secret = folder.path().join(name);
            std::fs::write(&secret, text).unwrap();
            #[cfg(unix)]
            std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        File::read(&path)?.alerting(&path)
    }

    #[test]
    fn the_example_of_the_page_is_read_and_no_address_prints() {
        let page = include_str!("../../docs/alerts.md");
        let example = page.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
        let alerting = read(example).unwrap();
        assert_eq!((alerting.rules.len(), alerting.sinks.len(), alerting.ping.is_some()), (7, 2, true));
        let fridge = &alerting.rules[0];
        assert_eq!((fridge.value, fridge.clear, fridge.lasts), (Some(8.0), Some(7.0), 600 * SECOND));
        assert_eq!(alerting.rules[1].to, ["phone", "program"]);
        assert!(!format!("{alerting:?}").contains("hidden"), "{alerting:?}");
    }

    #[test]
    fn what_cannot_be_meant_is_told_and_quotes_no_address() {
        let sink = "[[notify]]\nname = \"n\"\nurl = \"https://x.example/hidden\"\n";
        let alert = |rest: &str| format!("{sink}[[alert]]\nname = \"a\"\n{rest}");
        for (text, says) in [
            (alert("when = \"abov\""), "did you mean \"above\""),
            (alert("when = \"above\"\nvalue = 8"), "of which event type"),
            (alert("when = \"above\"\ntype = \"temperature\""), "above which value"),
            (alert("when = \"above\"\ntype = \"temperature\"\nvalue = 8\nclear = 9"), "wrong side"),
            (alert("when = \"silent\"\nvalue = 8"), "value says nothing here"),
            (alert("when = \"gap\"\nto = [\"m\"]"), "no [[notify]] is called"),
            (alert("when = \"gap\"\nfor = \"5 parsecs\""), "is no duration"),
            (alert("when = \"gap\"\nhld = \"5m\""), "expected one of `name`"),
            ("[[alert]]\nname = \"a\"\nwhen = \"gap\"".to_owned(), "nobody whom to tell"),
            ("[[notify]]\nname = \"n\"\nurl = \"hidden\"".to_owned(), "has to begin with https"),
            ("[[notify]]\nname = \"n\"".to_owned(), "where to?"),
            (format!("{sink}{sink}"), "two [[notify]]"),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hidden"), "{text}: {error}");
        }
    }
}
