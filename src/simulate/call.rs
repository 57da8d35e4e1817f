//! What every API call has in common: credentials, the project, the parameters, and how a refusal looks.

use super::auth::AuthError;
use super::cloud::Cloud;
use super::event::Quoted;
use super::query::Params;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

const HELP: &str = "https://developer.disruptive-technologies.com/docs/error-codes";

/// An error answer. Flat unless it is turned into the wrapped shape.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    wrapped: bool,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), wrapped: false }
    }

    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid or expired credentials")
    }

    pub(super) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
    }

    /// The shape in which an error stands in a stream; the cloud's own client can read no other one there.
    pub(super) fn wrapped(self) -> Self {
        Self { wrapped: true, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (code, message) = (self.status.as_u16(), Quoted(&self.message));
        let body = if self.wrapped {
            format!(r#"{{"error":{{"code":{code},"message":{message},"details":[{{"help":"{HELP}#{code}"}}]}}}}"#)
        } else {
            format!(r#"{{"error":{message},"code":{code},"help":"{HELP}#{code}"}}"#)
        };
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// A 200 with a JSON body.
pub(super) fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A call with right credentials to a project that exists.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) cloud: Arc<Cloud>,
    pub(super) params: Params,
    /// Whether the project was given as `-`.
    pub(super) wildcard: bool,
    device: Option<String>,
}

impl Call {
    /// The device in the path, maybe with a `:verb`.
    pub(super) fn device(&self) -> &str {
        self.device.as_deref().unwrap_or_default()
    }

    /// For calls that want one project.
    pub(super) fn in_one_project(self) -> Result<Self, Refusal> {
        if self.wildcard { Err(Refusal::argument("wildcard project is not supported here")) } else { Ok(self) }
    }
}

impl FromRequestParts<Arc<Cloud>> for Call {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, cloud: &Arc<Cloud>) -> Result<Self, Refusal> {
        let params = Params::parse(parts.uri.query().unwrap_or_default());
        let authorization = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let allowed = match (authorization, params.one("token")) {
            (Some(header), _) => cloud.auth().header(header),
            (None, Some(token)) => cloud.auth().token(token),
            (None, None) => Err(AuthError::Missing),
        };
        allowed.map_err(|_| Refusal::unauthorized())?;

        let path = RawPathParams::from_request_parts(parts, cloud).await;
        let path = path.map_err(|_| Refusal::argument("the path is no UTF-8"))?;
        let part = |name| path.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        let project = part("project");
        let wildcard = project.as_deref() == Some("-");
        if !wildcard && project.is_some_and(|p| p != cloud.options.project) {
            return Err(Refusal::missing("project"));
        }
        Ok(Self { cloud: Arc::clone(cloud), params, wildcard, device: part("device") })
    }
}
