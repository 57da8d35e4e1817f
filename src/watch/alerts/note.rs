//! A message, and what it looks like to whom it goes.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::base::time::{Micros, rfc3339};
use crate::model::settings::Form;

/// Most subjects that a message names one by one, for programs.
const NAMED: usize = 200;

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The same however often it is sent.
    pub id: String,
    /// The alert.
    pub alert: String,
    /// `firing`, `resolved`, `digest` or `test`.
    pub state: String,
    /// In one sentence; several in a digest.
    pub text: String,
    /// When that was known (RFC 3339).
    pub at: String,
    /// Of whom, the first 200.
    pub subjects: Vec<Named>,
    /// Of how many.
    pub count: usize,
    /// Ids of the messages that a digest stands for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
}

/// Of whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// What people call it.
    pub name: String,
    /// The project.
    pub project: String,
    /// The device's id; empty of a project.
    pub device: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// The value, where there is one.
    pub value: Option<f64>,
}

/// What goes over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    /// Of the body.
    pub media: &'static str,
    /// Names, in small letters, and values.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Note {
    /// A message of an alert.
    pub(super) fn new(id: String, alert: &str, state: &str, text: String, at: Micros) -> Self {
        let (alert, state) = (alert.to_owned(), state.to_owned());
        Self { id, alert, state, text, at: rfc3339(at), subjects: Vec::new(), count: 0, holds: Vec::new() }
    }

    /// A message that tries a way out.
    pub fn test(now: Micros) -> Self {
        let text = "This is a test: alerts of overnight arrive here.".to_owned();
        Self::new(id_of(&["test", &now.to_string()]), "overnight", "test", text, now)
    }

    /// About these.
    #[must_use]
    pub(super) fn of(self, all: impl ExactSizeIterator<Item = Named>) -> Self {
        Self { count: all.len(), subjects: all.take(NAMED).collect(), ..self }
    }

    /// Several in one.
    pub(super) fn digest(notes: &[&Self], at: Micros) -> Self {
        const LINES: usize = 12;
        let lines = notes.iter().take(LINES).map(|note| format!("{}: {}", note.title(), note.text));
        let mut text: Vec<String> = lines.collect();
        if notes.len() > LINES {
            text.push(format!("and {} more", notes.len() - LINES));
        }
        let holds: Vec<String> = notes.iter().map(|note| note.id.clone()).collect();
        let id = id_of(&["digest", &holds.join(" ")]);
        let subjects = notes.iter().flat_map(|note| note.subjects.iter().cloned()).take(NAMED).collect();
        let count = notes.iter().map(|note| note.count).sum();
        let head = format!("{} messages", notes.len());
        Self { subjects, count, holds, ..Self::new(id, &head, "digest", text.join("\n"), at) }
    }

    /// The head of a message.
    pub fn title(&self) -> String {
        match self.state.as_str() {
            "resolved" => format!("{} resolved", self.alert),
            _ => self.alert.clone(),
        }
    }

    /// As JSON: to a program, and to whoever takes that.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What is posted.
    pub fn posted(&self, form: Form) -> Posted {
        let title = self.title();
        let json = |value: serde_json::Value| Posted {
            media: "application/json",
            headers: Vec::new(),
            body: value.to_string().into_bytes(),
        };
        match form {
            Form::Json => {
                Posted { media: "application/json", headers: vec![("idempotency-key", self.id.clone())], body: self.json() }
            }
            Form::Text => Posted {
                media: "text/plain; charset=utf-8",
                headers: vec![("idempotency-key", self.id.clone())],
                body: format!("{title}: {}\n", self.text).into_bytes(),
            },
            Form::Ntfy => {
                let (priority, tag) = match self.state.as_str() {
                    "resolved" => ("default", "white_check_mark"),
                    "test" => ("default", "wave"),
                    _ => ("high", "warning"),
                };
                let headers = vec![("title", title), ("priority", priority.to_owned()), ("tags", tag.to_owned())];
                Posted { media: "text/plain; charset=utf-8", headers, body: self.text.clone().into_bytes() }
            }
            Form::Slack => {
                let plain = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                json(json!({"text": format!("*{}*\n{}", plain(&title), plain(&self.text))}))
            }
            Form::Teams => {
                let block = |text: &str, weight: &str| json!({"type": "TextBlock", "text": text, "weight": weight, "wrap": true});
                let content = json!({"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard",
                    "version": "1.4", "body": [block(&title, "Bolder"), block(&self.text, "Default")]});
                let card =
                    json!({"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null, "content": content});
                json(json!({"type": "message", "attachments": [card]}))
            }
        }
    }
}

/// The same for the same parts.
pub(super) fn id_of(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\0"));
    base16ct::lower::encode_string(&digest[..10])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_says_title_and_text_and_escapes_what_its_reader_would_obey() {
        let note = Note::new("id1".to_owned(), "fridge", "firing", "A & <b>: 9.4 °C".to_owned(), 0);
        let body = |form| String::from_utf8(note.posted(form).body).unwrap();
        let value = |form| serde_json::from_str::<serde_json::Value>(&body(form)).unwrap();
        assert_eq!(value(Form::Json)["id"], "id1");
        assert_eq!(body(Form::Text), "fridge: A & <b>: 9.4 °C\n");
        assert_eq!(body(Form::Ntfy), "A & <b>: 9.4 °C");
        assert!(note.posted(Form::Ntfy).headers.contains(&("title", "fridge".to_owned())));
        assert_eq!(value(Form::Slack)["text"], "*fridge*\nA &amp; &lt;b&gt;: 9.4 °C");
        assert_eq!(value(Form::Teams)["attachments"][0]["content"]["body"][1]["text"], "A & <b>: 9.4 °C");
    }
}
