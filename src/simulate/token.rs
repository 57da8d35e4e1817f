//! Where an assertion is exchanged for an access token.

use super::clock::real_seconds;
use super::cloud::Cloud;
use super::query::Params;
use super::refusal::json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `POST /oauth2/token`.
pub(super) async fn token(State(cloud): State<Arc<Cloud>>, headers: HeaderMap, body: String) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return refuse("invalid_request", "the body must be a form");
    }
    let form = Params::parse(&body);
    match (form.one("grant_type"), form.one("assertion")) {
        (Some(GRANT), Some(jwt)) => match cloud.auth().assertion(jwt, real_seconds()) {
            Ok(()) => {
                let token = cloud.auth().issue();
                let life = cloud.options.habits.expires_in.clone();
                let life = life.unwrap_or_else(|| cloud.auth().life.as_secs().to_string());
                let body = format!(r#"{{"access_token":"{token}","token_type":"bearer","expires_in":{life}}}"#);
                json(body)
            }
            Err(error) => refuse("invalid_grant", &error.to_string()),
        },
        (Some(GRANT), None) => refuse("invalid_request", "assertion is missing"),
        _ => refuse("unsupported_grant_type", "grant_type must be jwt-bearer"),
    }
}

fn refuse(error: &str, why: &str) -> Response {
    let body = format!(r#"{{"error":"{error}","error_description":"{why}"}}"#);
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
