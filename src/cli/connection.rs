//! Flags and settings that lead to a cloud, shared by the verbs that talk to one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::time;
use crate::cloud::client::{API_URL, Cloud};
use crate::intake::backfill::Passes;
use crate::intake::preflight::{Asked, Looked, Unfit, look, resolve};
use crate::model::layout::Layout;
use crate::model::settings::{Credentials, File, Filters, SettingsError};
use crate::store::buffer::View;

use super::messages::{self, Level};
use super::{Failure, duration};

/// What the cloud's documentation says at most, and some.
const INDEX_DELAY: Duration = Duration::from_secs(12);
/// When the history is asked again, for what came later than that.
const CONFIRM_AFTER: [Duration; 2] = [Duration::from_hours(1), Duration::from_hours(24)];
/// How long a start waits for what the cloud says to it.
const ASK_WITHIN: Duration = Duration::from_secs(10);
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
    /// What is to be recorded of projects, and who asks for it: as flags, environment, credentials file and settings say, in this
    /// order. Says where credentials go. Nothing is sent yet.
    pub(super) fn asked(&self, file: &File, projects: Vec<String>, given: &Filters) -> Result<Vec<Asked>, Failure> {
        let mut clouds: Vec<(Option<PathBuf>, Arc<Cloud>)> = Vec::new();
        let mut all = Vec::new();
        for project in projects {
            let own = if self.credentials.is_some() { None } else { file.credentials(&project)? };
            let known = clouds.iter().find(|(of, _)| *of == own).map(|(_, cloud)| Arc::clone(cloud));
            let cloud = known.map_or_else(|| self.cloud(file, own.as_deref()), Ok)?;
            clouds.push((own, Arc::clone(&cloud)));
            let filters = file.filters(&project, given);
            all.push(Asked { project, cloud, filters });
        }
        Ok(all)
    }

    /// The credentials that flags, a project's settings or the environment name, in this order.
    pub(super) fn credentials(&self, own: Option<&Path>) -> Result<Credentials, SettingsError> {
        Credentials::find(self.credentials.as_deref().or(own), |name| std::env::var(name).ok())
    }

    fn cloud(&self, file: &File, own: Option<&Path>) -> Result<Arc<Cloud>, Failure> {
        let credentials = self.credentials(own)?;
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
        messages::tell(Level::Note, format_args!("overnight: credentials go to {}", cloud.hosts().join(" and ")));
        if cloud.is_in_the_clear() {
            warn!("{} is not HTTPS; the credentials go over the network in the clear", cloud.host());
        }
        Ok(Arc::new(cloud))
    }
}

/// Before anything is made: asks the cloud whether it knows who asks, the projects, and the devices of the filters, which are by
/// their ids from then on. A recording that knows all of it already asks nobody, and what it heard before is no typing error.
pub(super) fn preflight(layout: &Layout, mut asked: Vec<Asked>, may_refuse: bool) -> Result<Vec<Asked>, Failure> {
    // One that does not read is mended when it is opened.
    let view = View::open(layout).ok();
    let was_heard = |asked: &&Asked| {
        view.as_ref().is_some_and(|view| view.was_heard(&asked.project, &asked.cloud.account()).unwrap_or_default())
    };
    let heard = asked.iter().filter(was_heard).count();
    let mut recorded = view.as_ref().and_then(|view| view.devices().ok()).unwrap_or_default();
    recorded.retain(|device| asked.iter().any(|asked| asked.project == device.project));
    let of_recording: Result<Vec<Filters>, String> =
        asked.iter().map(|asked| resolve(asked.filters.clone(), &recorded)).collect();
    let of = |asked: Vec<Asked>, filters: Vec<Filters>| -> Vec<Asked> {
        asked.into_iter().zip(filters).map(|(asked, filters)| Asked { filters, ..asked }).collect()
    };
    if heard == asked.len()
        && let Ok(filters) = of_recording
    {
        return Ok(of(asked, filters));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let looked = runtime.block_on(async { tokio::time::timeout(ASK_WITHIN, look(&asked)).await });
    runtime.shutdown_background();
    let why = match looked {
        Ok(Ok(Looked { filters, unchecked: None })) => return Ok(of(asked, filters)),
        Ok(Err(Unfit::NoDevice(text))) => return Err(Failure::usage(text)),
        Ok(Err(Unfit::Refused(error))) if may_refuse && heard == 0 => return Err(Failure::failed(error.to_string())),
        Ok(Err(Unfit::Refused(error))) => error.to_string(),
        Ok(Ok(Looked { unchecked: Some(why), .. })) => why,
        Err(_) => "no answer in time".to_owned(),
    };
    if asked.iter().all(|asked| asked.filters.is_about_all_devices()) {
        return Ok(asked);
    }
    if let Ok(filters) = of_recording {
        asked = of(asked, filters);
    }
    let is_id = |word: &&String| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if let Some(name) = asked.iter().flat_map(|asked| &asked.filters.devices).find(|word| !is_id(word)) {
        return Err(Failure::failed(format!("cannot ask which device is called {name:?}: {why}. Give its id, or try again")));
    }
    warn!("the cloud does not tell which devices there are ({why}), so the filters are taken as they are");
    Ok(asked)
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
