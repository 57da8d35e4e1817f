//! Flags and settings that lead to a cloud, shared by the verbs that talk to one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::base::time;
use crate::cloud::client::{API_URL, Cloud};
use crate::intake::backfill::Passes;
use crate::model::settings::{Credentials, File};

use super::{Failure, duration};

/// What the cloud's documentation says at most, and some.
const INDEX_DELAY: Duration = Duration::from_secs(12);
/// When the history is asked again, for what came later than that.
const CONFIRM_AFTER: [Duration; 2] = [Duration::from_hours(1), Duration::from_hours(24)];
/// How far back these passes look: about a page of a device.
const LOOK_BACK: Duration = Duration::from_hours(72);

/// Which cloud, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Connection {
    /// The cloud's API [default: the cloud's own]
    #[arg(long, value_name = "URL", env = "DT_API_URL", hide_env_values = true)]
    api_url: Option<String>,
    /// The cloud's token endpoint [default: the cloud's own; /oauth2/token at another --api-url]
    #[arg(long, value_name = "URL", env = "DT_TOKEN_URL", hide_env_values = true)]
    token_url: Option<String>,
    /// Credentials file (JSON, as DT_CREDENTIALS_FILE)
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

impl Connection {
    /// The cloud that flags, environment, credentials file and settings name, in this order; says which. Nothing is sent yet.
    pub(super) fn cloud(&self, file: &File) -> Result<Arc<Cloud>, Failure> {
        let credentials = Credentials::find(self.credentials.as_deref(), |name| std::env::var(name).ok())?;
        // Settings are asked only for what nobody else says: they are refused when others may have written them.
        let api_url = match self.api_url.as_deref() {
            None => file.api_url()?.unwrap_or(API_URL),
            Some(url) => url,
        };
        let token_url = match self.token_url.as_deref().or(credentials.token_url.as_deref()) {
            None => file.token_url()?,
            url => url,
        };
        let token_url = token_url.map(str::to_owned);
        let cloud = Cloud::new(api_url, token_url.as_deref(), credentials)?;
        tell!("overnight: credentials go to {}", cloud.hosts().join(" and "));
        if cloud.is_in_the_clear() {
            tell!("overnight: warning: {} is not HTTPS; the credentials go over the network in the clear", cloud.host());
        }
        Ok(Arc::new(cloud))
    }
}

/// How the history is asked.
pub(super) fn passes(file: &File) -> Result<Passes, Failure> {
    let after = match &file.confirm_after {
        Some(texts) => texts.iter().map(|text| duration(text).map_err(Failure::usage)).collect::<Result<Vec<_>, _>>()?,
        None => CONFIRM_AFTER.to_vec(),
    };
    let mut confirm_after: Vec<_> = after.into_iter().map(time::micros).collect();
    confirm_after.sort_unstable();
    Ok(Passes {
        index_delay: time::micros(time_of(file.index_delay.as_deref())?.unwrap_or(INDEX_DELAY)),
        confirm_after,
        look_back: time::micros(time_of(file.look_back.as_deref())?.unwrap_or(LOOK_BACK)),
    })
}

/// A time in the settings.
pub(super) fn time_of(text: Option<&str>) -> Result<Option<Duration>, Failure> {
    text.map(duration).transpose().map_err(Failure::usage)
}
