//! The page of `record --page`: `overnight watch` as a process of its own. It ends with the recorder, and takes nothing along when it
//! fails.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::time;
use crate::model::settings::File;
use crate::serve::Certificate;

use super::{Failure, Recording};

/// How often it is looked whether the page is still there, and how long it gets to end.
const LOOK: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_secs(3);

/// Whether there is a page beside a recorder.
#[derive(Debug, clap::Args)]
pub(super) struct Page {
    /// Also show a page that says whether all is well, at this address; see `overnight watch`
    #[arg(long, value_name = "IP:PORT")]
    page: Option<SocketAddr>,
}

/// Refuses a page for everybody who reaches its address.
pub(super) fn refuse_open(address: SocketAddr, has_token: bool) -> Result<(), Failure> {
    if address.ip().is_loopback() || has_token {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "everybody who reaches {address} could look on: give --token-file FILE with a token (openssl rand -hex 16), or an address of this machine alone, as 127.0.0.1"
    )))
}

impl Page {
    /// Where, by flag or settings.
    pub(super) fn address(&self, file: &File) -> Result<Option<SocketAddr>, Failure> {
        Ok(if self.page.is_some() { self.page } else { file.page()? })
    }

    /// What starts it; none where nobody asked for one.
    pub(super) fn command(
        &self,
        file: &File,
        recording: &Recording,
        token: Option<&Path>,
        certificate: Option<&Certificate>,
        zone: &str,
    ) -> Result<Option<Command>, Failure> {
        let Some(address) = self.address(file)? else { return Ok(None) };
        if !cfg!(feature = "reports") {
            return Err(Failure::usage("this build has no reports, and so no page: build with the feature `reports`"));
        }
        refuse_open(address, token.is_some())?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["watch", "--with-stdin", "--page", &address.to_string(), "--tz", zone, "--dir"]).arg(&recording.dir);
        if let Some(folder) = &recording.schemas {
            command.arg("--schemas").arg(folder);
        }
        if let Some(path) = token {
            command.arg("--token-file").arg(path);
        }
        if let Some(Certificate { chain, key }) = certificate {
            command.arg("--tls-cert").arg(chain).arg("--tls-key").arg(key);
        }
        // The secrets of the recorder are none of its business.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"DT_")) {
            command.env_remove(name);
        }
        command.stdin(Stdio::piped());
        Ok(Some(command))
    }
}

/// A page that is shown, until this value is dropped.
#[derive(Debug)]
pub(super) struct Shown {
    /// As long as it is open, the page goes on; should this process be killed, it closes as well.
    held: Option<ChildStdin>,
    ends: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Shown {
    pub(super) fn start(mut command: Command) -> Result<Self, Failure> {
        let mut child = command.spawn()?;
        let held = child.stdin.take();
        let (ends, ended) = channel();
        let keeper = std::thread::Builder::new().name("page".to_owned()).spawn(move || keep(child, &ended))?;
        Ok(Self { held, ends: Some(ends), keeper: Some(keeper) })
    }
}

/// Says if the page ends before it should, and ends it when it should.
fn keep(mut child: Child, ended: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                warn!("the page has ended ({status}); recording goes on, and `overnight watch` shows it again");
                return;
            }
            Err(error) => {
                warn!("nobody knows how the page is ({error}); recording goes on");
                return;
            }
        }
    }
    let begun = time::instant();
    while let Ok(None) = child.try_wait() {
        if time::instant() - begun > GRACE {
            child.kill().unwrap_or_default();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        drop(self.held.take());
        drop(self.ends.take());
        // A keeper that died has nothing to end any more.
        self.keeper.take().into_iter().for_each(|keeper| keeper.join().unwrap_or_default());
    }
}
