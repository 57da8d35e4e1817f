//! Where a lake is: an object store, or a directory, and the few things that are asked of one. What is written is written whole, and
//! never over what is there already, but for a lease.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use delta_kernel_default_engine::executor::tokio::TokioMultiThreadExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, DynObjectStore, GetOptions, ObjectStoreExt, PutMode, PutOptions, RetryConfig, UpdateVersion,
};
use tokio::runtime::Runtime;
use url::Url;

use crate::base::disk::{self, DiskError};
use crate::model::settings::Mask;

use super::{LakeError, Result};

/// Longest wait for one answer. What takes longer is asked again.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longest wait for a connection.
const CONNECTING: Duration = Duration::from_secs(10);
/// How often a request is sent again, and for how long in all; beyond that the next shipment tries.
const TRIES: usize = 5;
const TRYING: Duration = Duration::from_secs(90);

/// Variables whose values are secrets, as the stores read them.
const SECRET: [&str; 3] = ["KEY", "SECRET", "TOKEN"];
const STORES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// A lake's address, open.
pub struct Place {
    /// Ends in `/`.
    url: Url,
    store: Arc<DynObjectStore>,
    engine: Arc<DefaultEngine<TokioMultiThreadExecutor>>,
    mask: Mask,
    /// Last, since what stands above runs on it.
    runtime: Runtime,
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Place").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// What became of something that was to be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there now.
    Made,
    /// Something is there already.
    There,
}

/// What stands under a name.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its bytes.
    pub(super) bytes: Bytes,
    /// By what the store knows this very version.
    pub(super) version: UpdateVersion,
}

impl Place {
    /// Opens an address: `s3://bucket/prefix`, `gs://…`, `az://…`, or a directory. Credentials are those of the environment, as
    /// `object_store` reads them (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_KEY` and so on).
    /// Nothing is asked of the store yet.
    ///
    /// # Errors
    /// When it is no such address, or carries credentials itself.
    pub fn open(address: &str) -> Result<Self> {
        let url = parsed(address)?;
        let store = store(&url).map_err(|error| LakeError::Address { what: format!("{address}: {error}") })?;
        Self::over(url, store)
    }

    /// The same, and makes the directory where it is one.
    ///
    /// # Errors
    /// As for [`Place::open`], and when the disk refuses.
    pub fn make(address: &str) -> Result<Self> {
        if !address.is_empty() && !address.contains("://") {
            disk::create_dir_anywhere(FilePath::new(address))?;
        }
        Self::open(address)
    }

    /// A store that is open already, under an address that ends in `/`.
    ///
    /// # Errors
    /// When the system refuses threads.
    pub(super) fn over(url: Url, store: Arc<DynObjectStore>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lake")
            .enable_all()
            .build()
            .map_err(|source| LakeError::System { what: "start a thread", source })?;
        // On one thread alone, checkpoints of the kernel wait for themselves for ever.
        let executor = Arc::new(TokioMultiThreadExecutor::new(runtime.handle().clone()));
        let engine = Arc::new(DefaultEngineBuilder::new(Arc::clone(&store)).with_task_executor(executor).build());
        let secrets: Vec<String> = std::env::vars()
            .filter(|(name, _)| STORES.iter().any(|of| name.starts_with(of)) && SECRET.iter().any(|of| name.contains(of)))
            .map(|(_, value)| value)
            .collect();
        let mask = Mask::new(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(Self { url, store, engine, mask, runtime })
    }

    /// Its address, as people are told it.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// True for a directory of this machine.
    pub(super) fn is_directory(&self) -> bool {
        self.url.scheme() == "file"
    }

    /// The folder of a table, where the lake is a directory: there the kernel wants it to be there before it looks.
    pub(super) fn folder(&self, name: &str) -> Option<std::path::PathBuf> {
        self.is_directory().then(|| self.url.to_file_path().ok()).flatten().map(|root| root.join(name))
    }

    /// The address of something in it.
    pub(super) fn url(&self, name: &str) -> Result<Url> {
        self.url.join(name).map_err(|error| LakeError::Address { what: format!("{name}: {error}") })
    }

    /// What the kernel asks.
    pub(super) fn engine(&self) -> &DefaultEngine<TokioMultiThreadExecutor> {
        &self.engine
    }

    /// What a library said, without a secret.
    pub(super) fn masked(&self, said: &str) -> String {
        self.mask.text(said)
    }

    fn path(&self, name: &str) -> Result<Path> {
        let url = self.url(name)?;
        Path::from_url_path(url.path()).map_err(|error| LakeError::Address { what: format!("{name}: {error}") })
    }

    fn fail(&self, step: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> LakeError + use<'_> {
        let what = format!("{}{name}", self.shown());
        move |source| {
            let said = self.masked(&plain(&source));
            LakeError::Store { step, what, said, is_refused: is_refused(&source) }
        }
    }

    /// Puts something where nothing is.
    ///
    /// # Errors
    /// When the store refuses, or does not answer.
    pub(super) fn put_new(&self, name: &str, bytes: Bytes) -> Result<Put> {
        let path = self.path(name)?;
        let put = self.store.put_opts(&path, bytes.into(), PutOptions { mode: PutMode::Create, ..PutOptions::default() });
        match self.runtime.block_on(put) {
            Ok(_) => Ok(Put::Made),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(Put::There),
            Err(error) => Err(self.fail("write", name)(error)),
        }
    }

    /// Puts something where a certain version is; false where another is by now. A directory knows no versions: there the caller has to be
    /// alone.
    ///
    /// # Errors
    /// When the store refuses, or does not answer.
    pub(super) fn put_over(&self, name: &str, bytes: Bytes, over: &UpdateVersion) -> Result<bool> {
        let path = self.path(name)?;
        let mode = if self.is_directory() { PutMode::Overwrite } else { PutMode::Update(over.clone()) };
        match self.runtime.block_on(self.store.put_opts(&path, bytes.into(), PutOptions { mode, ..PutOptions::default() })) {
            Ok(_) => Ok(true),
            Err(object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.fail("write", name)(error)),
        }
    }

    /// What stands under a name; none where nothing does.
    ///
    /// # Errors
    /// When the store refuses, does not answer, or it is longer than `most` bytes.
    pub(super) fn get(&self, name: &str, most: u64) -> Result<Option<Found>> {
        let path = self.path(name)?;
        let got = self.runtime.block_on(async {
            let got = self.store.get_opts(&path, GetOptions::default()).await?;
            let (meta, is_long) = (got.meta.clone(), got.meta.size > most);
            let bytes = if is_long { None } else { Some(got.bytes().await?) };
            Ok((bytes, UpdateVersion { e_tag: meta.e_tag, version: meta.version }))
        });
        match got {
            Ok((Some(bytes), version)) => Ok(Some(Found { bytes, version })),
            Ok((None, _)) => Err(LakeError::Strange { what: format!("{}{name} is longer than {most} bytes", self.shown()) }),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fail("read", name)(error)),
        }
    }

    /// Writes what stands under a name to a file, piece by piece.
    ///
    /// # Errors
    /// When the store refuses or does not answer, when the disk refuses.
    pub(super) fn fetch(&self, name: &str, to: &FilePath) -> Result<()> {
        use std::io::Write;
        let path = self.path(name)?;
        let mut file = disk::create(to)?;
        self.runtime.block_on(async {
            let mut pieces = match self.store.get(&path).await {
                Ok(got) => got.into_stream(),
                Err(error) => return Err(self.fail("read", name)(error)),
            };
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(self.fail("read", name))?;
                file.write_all(&piece).map_err(|error| DiskError::new("write", to, error))?;
            }
            Ok(())
        })
    }

    /// How long it is; none where nothing is.
    ///
    /// # Errors
    /// When the store refuses, or does not answer.
    pub(super) fn size(&self, name: &str) -> Result<Option<u64>> {
        let path = self.path(name)?;
        match self.runtime.block_on(self.store.head(&path)) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.fail("look at", name)(error)),
        }
    }

    /// The name, as [`Place::list`] gives it, of what an address means that is written in something in the lake; none where it is elsewhere.
    ///
    /// # Errors
    /// When it is no address.
    pub(super) fn listed(&self, within: &str, address: &str) -> Result<Option<String>> {
        let wrong = |_| LakeError::Address { what: format!("{within}{address}") };
        let url = self.url(within)?.join(address).map_err(wrong)?;
        let path = Path::from_url_path(url.path()).map_err(|_| LakeError::Address { what: url.to_string() })?;
        let name = path.as_ref().strip_prefix(self.path("")?.as_ref());
        Ok(name.map(|name| name.trim_start_matches('/').to_owned()))
    }

    /// Everything below a name: names as seen from the lake, sizes, times of change in milliseconds since 1970.
    ///
    /// # Errors
    /// When the store refuses, or does not answer.
    pub(super) fn list(&self, below: &str) -> Result<Vec<(String, u64, i64)>> {
        let (root, path) = (self.path("")?, self.path(below)?);
        let listed = self.store.list(Some(&path)).try_collect::<Vec<_>>();
        let listed = self.runtime.block_on(listed).map_err(self.fail("list", below))?;
        let name = |path: &Path| path.as_ref().strip_prefix(root.as_ref()).map(|name| name.trim_start_matches('/').to_owned());
        let all = listed
            .into_iter()
            .filter_map(|about| Some((name(&about.location)?, about.size, about.last_modified.timestamp_millis())));
        Ok(all.collect())
    }

    /// The names of the folders right below it, sorted.
    ///
    /// # Errors
    /// When the store refuses, or does not answer.
    pub(super) fn folders(&self) -> Result<Vec<String>> {
        let root = self.path("")?;
        let listed = self.runtime.block_on(self.store.list_with_delimiter(Some(&root))).map_err(self.fail("list", ""))?;
        let name = |path: &Path| path.parts().next_back().map(|part| part.as_ref().to_owned());
        let mut names: Vec<String> = listed.common_prefixes.iter().filter_map(name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Takes something away; what is gone already is fine.
    ///
    /// # Errors
    /// When the store refuses, or does not answer.
    pub(super) fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        match self.runtime.block_on(self.store.delete(&path)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.fail("remove", name)(error)),
        }
    }
}

/// An address as a URL that ends in `/`.
fn parsed(address: &str) -> Result<Url> {
    let fail = |what: String| LakeError::Address { what };
    if address.is_empty() {
        return Err(fail("no address is given".to_owned()));
    }
    let url = match Url::parse(address) {
        Ok(url) if address.contains("://") => url,
        _ => {
            let path = FilePath::new(address);
            let path = path.canonicalize().map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => LakeError::Missing(address.to_owned()),
                _ => DiskError::new("open", path, error).into(),
            })?;
            Url::from_directory_path(&path).map_err(|()| fail(format!("{address} is no directory")))?
        }
    };
    let known = ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "file"];
    if !known.contains(&url.scheme()) {
        return Err(fail(format!("{}: a lake is at s3://bucket/prefix, gs://…, az://…, or in a directory", shown(&url))));
    }
    if url.scheme() != "file" && url.host_str().is_none_or(str::is_empty) {
        return Err(fail(format!("{} names no bucket", shown(&url))));
    }
    // abfss names its container before the @.
    let has_user = !url.username().is_empty() && !url.scheme().starts_with("abfs");
    if has_user || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(fail(format!(
            "{}: an address carries neither credentials nor settings; they are read from the environment (AWS_ACCESS_KEY_ID and so on)",
            shown(&url)
        )));
    }
    let mut url = url;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// An address without what may be secret.
fn shown(url: &Url) -> String {
    if let ("file", Ok(path)) = (url.scheme(), url.to_file_path()) {
        return path.display().to_string();
    }
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_password(None).unwrap_or_default();
    if !url.scheme().starts_with("abfs") {
        url.set_username("").unwrap_or_default();
    }
    url.to_string()
}

fn store(url: &Url) -> object_store::Result<Arc<DynObjectStore>> {
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: Duration::from_millis(200), max_backoff: Duration::from_secs(10), base: 2.0 },
        max_retries: TRIES,
        retry_timeout: TRYING,
    };
    // Beside what the environment says of clients (proxies, plain HTTP and so on).
    let (patience, connecting) = (format!("{} s", PATIENCE.as_secs()), format!("{} s", CONNECTING.as_secs()));
    let times = [(ClientConfigKey::Timeout, patience), (ClientConfigKey::ConnectTimeout, connecting)];
    let (scheme, url) = (url.scheme(), url.as_str());
    Ok(match scheme {
        "file" => Arc::new(LocalFileSystem::new().with_fsync(true)),
        "gs" => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url).with_retry(retry);
            let with = |builder: GoogleCloudStorageBuilder, (key, time)| builder.with_config(GoogleConfigKey::Client(key), time);
            Arc::new(times.into_iter().fold(builder, with).build()?)
        }
        "s3" | "s3a" => {
            let builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
            let with = |builder: AmazonS3Builder, (key, time)| builder.with_config(AmazonS3ConfigKey::Client(key), time);
            Arc::new(times.into_iter().fold(builder, with).build()?)
        }
        _ => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url).with_retry(retry);
            let with = |builder: MicrosoftAzureBuilder, (key, time)| builder.with_config(AzureConfigKey::Client(key), time);
            Arc::new(times.into_iter().fold(builder, with).build()?)
        }
    })
}

/// True when trying again does not help.
pub(super) fn is_refused(error: &object_store::Error) -> bool {
    use object_store::Error::{NotImplemented, PermissionDenied, Unauthenticated, UnknownConfigurationKey};
    matches!(error, PermissionDenied { .. } | Unauthenticated { .. } | NotImplemented { .. } | UnknownConfigurationKey { .. })
}

/// What a store said, in a sentence.
pub(super) fn plain(error: &object_store::Error) -> String {
    use object_store::Error::{NotFound, NotImplemented, PermissionDenied, Unauthenticated};
    /// Longest that is shown of what somebody else wrote.
    const LONGEST: usize = 200;
    match error {
        NotFound { .. } => return "there is no such bucket or object".to_owned(),
        // A bucket that is full says so in this way, too.
        PermissionDenied { source, .. } => return format!("these credentials may not do that{}", code(&source.to_string())),
        Unauthenticated { .. } => return "the credentials are missing or wrong".to_owned(),
        NotImplemented { .. } => return "this kind of store cannot do that".to_owned(),
        _ => {}
    }
    let mut causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    if let Some(error) = causes.find_map(|error| error.downcast_ref::<reqwest::Error>()) {
        return crate::base::error::plain(error);
    }
    let causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    if let Some(error) = causes.filter_map(|error| error.downcast_ref::<std::io::Error>()).last() {
        return crate::base::error::plain(error);
    }
    let said = error.to_string();
    if let Some((_, status)) = said.split_once("status code: ") {
        return format!("it answers {}", status.split([':', '<', '\n']).next().unwrap_or_default().trim());
    }
    crate::base::text::printable(&said, LONGEST)
}

/// What an S3 calls its answer, as ` (QuotaExceeded)`; empty where it says nothing of the kind.
fn code(said: &str) -> String {
    let code = said.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    code.map_or_else(String::new, |code| format!(" ({})", crate::base::text::printable(code, 40)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_carries_no_credentials_and_shows_none() {
        for address in ["s3://key:secret@bucket/x", "s3://bucket/x?aws_secret_access_key=secret", "az://c/x#secret"] {
            let error = parsed(address).unwrap_err().to_string();
            assert!(!error.contains("secret@") && !error.contains("=secret") && !error.contains("#secret"), "{error}");
        }
        assert_eq!(parsed("s3://bucket/a/b").unwrap().as_str(), "s3://bucket/a/b/");
        assert!(parsed("ftp://host/x").is_err() && parsed("s3:///x").is_err());
    }
}
