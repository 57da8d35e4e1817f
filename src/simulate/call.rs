//! What every API call has in common: credentials, the project, the parameters.

use super::auth::AuthError;
use super::cloud::Cloud;
use super::habits::{Spell, lasting};
use super::query::Params;
use super::refusal::Refusal;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// What a page of the API is, for the habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Stream,
    History,
    Rest,
    Token,
    /// Never refused by habit.
    Emulator,
}

/// Stands before every page: refuses by habit, and counts.
pub(super) async fn door(State((cloud, page)): State<(Arc<Cloud>, Page)>, request: Request, next: Next) -> Response {
    let refusal = refuse(&cloud, page, request.uri().path());
    let response = match refusal {
        Some(refusal) if page == Page::Stream => refusal.wrapped().into_response(),
        Some(refusal) => refusal.into_response(),
        None => next.run(request).await,
    };
    let status = response.status().as_u16();
    if status >= 400 {
        *cloud.moods.state().counts.refusals.entry(status).or_default() += 1;
    }
    response
}

fn refuse(cloud: &Cloud, page: Page, path: &str) -> Option<Refusal> {
    let habits = &cloud.options.habits;
    let mut moods = cloud.moods.state();
    moods.counts.opens += u64::from(page == Page::Stream);
    moods.counts.histories += u64::from(page == Page::History);
    if let Some(limits) = habits.requests_max.filter(|_| matches!(page, Page::History | Page::Rest))
        && let Err(seconds) = moods.admit(limits, cloud.clock.elapsed())
    {
        return Some(Refusal::limited(seconds));
    }
    let spells: &[Spell] = match page {
        Page::Stream => &habits.refuse_streams,
        Page::Token => &habits.refuse_token,
        Page::History | Page::Rest => &[],
        Page::Emulator => return None,
    };
    let refusal = match lasting(spells, cloud.clock.elapsed()) {
        Some(status) => Some(Refusal::status(status)),
        None => moods.mishap(habits.refuse, path).map(Refusal::mishap),
    };
    refusal.map(|refusal| refusal.patiently(habits.retry_after.as_ref()))
}

/// A call with right credentials to a project that exists.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) cloud: Arc<Cloud>,
    pub(super) params: Params,
    /// Whether the project was given as `-`.
    pub(super) wildcard: bool,
    /// The access token, if that is what let it in.
    pub(super) token: Option<String>,
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
        let token = match authorization {
            Some(header) => header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, t)| t),
            None => params.one("token"),
        };
        let token = token.map(|token| token.trim().to_owned());

        let path = RawPathParams::from_request_parts(parts, cloud).await;
        let path = path.map_err(|_| Refusal::argument("the path is no UTF-8"))?;
        let part = |name| path.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        let project = part("project");
        let wildcard = project.as_deref() == Some("-");
        if !wildcard && project.is_some_and(|p| p != cloud.options.project) {
            return Err(Refusal::missing("project"));
        }
        Ok(Self { cloud: Arc::clone(cloud), params, wildcard, token, device: part("device") })
    }
}
