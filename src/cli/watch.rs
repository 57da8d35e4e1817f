//! `overnight watch`: looks at a recording that another process writes, and shows a page that says whether all is well.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::time;
use crate::base::zone::Zone;
use crate::model::schema::Registry;
use crate::serve::{Certificate, Limits, Server};
use crate::watch::alerts::{Config, Shared};
use crate::watch::board::Board;
use crate::watch::http::{STREAMS, Site};
use crate::watch::login::Door;
use crate::watch::look;

use super::clock::Tz;
use super::page::refuse_open;
use super::signal::stopped;
use super::{Failure, Outcome, Recording};

/// How often it is looked whether there is a recording already.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It reads the recording and never writes to it, but for what alerts told (state/watch.json), so it may run beside a recorder, without one, and on a disk that is for reading only; a recorder that
dies is told by it. What stands on the page, metrics, and how others get to see it: src/docs/watching.md.")]
pub(super) struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Where the page is; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8803")]
    page: SocketAddr,
    /// Name by which browsers may call this machine, beside localhost and the address; may be given several times
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// File with the token that the page asks for; needed where others than this machine reach the address
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate chain (PEM) to speak TLS with; read anew at SIGHUP, as the token is
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where to note what alerts told, if not in the recording: where that is only for reading
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    tz: Tz,
    /// End with standard input: who started it holds the other end
    #[arg(long, hide = true)]
    with_stdin: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome, Failure> {
    let address = args.page;
    let is_far = !address.ip().is_loopback();
    refuse_open(address, args.token_file.is_some())?;
    let certificate = args.tls_cert.clone().zip(args.tls_key.clone()).map(|(chain, key)| Certificate { chain, key });
    if is_far && certificate.is_none() {
        warn!("{address} is open to the network and speaks plain HTTP, the token too; give --tls-cert and --tls-key, or put a proxy with TLS before it");
    }
    let layout = args.recording.layout();
    let zone = args.tz.here().zone;
    let is_tls = certificate.is_some();
    // What is read anew at SIGHUP does not end with it.
    let hangs_up = !is_tls && args.token_file.is_none();
    let alerts = alerts(args, &zone)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    runtime.block_on(async {
        let limits = Limits { streams: STREAMS, may_half_close: false, ..Limits::default() };
        let server = Server::bind(address, certificate, limits)?.only_for(&args.host);
        let door = args.token_file.as_deref().map(|path| Door::new(path, server.port(), is_tls)).transpose()?;
        let word = if args.with_stdin { "page" } else { "listening" };
        super::say(format_args!("{word} on {}", server.url()))
            .or_else(|failure| if matches!(failure, Failure::EndOfOutput) { Ok(()) } else { Err(failure) })?;
        let standing = alerts.as_ref().map(|(shared, _)| shared.clone());
        let board = Board::new(Arc::new(Registry::built_in()?), zone, look::nothing_yet(&layout, time::now()));
        let board = Arc::new(board.telling(standing));
        let looks = Looks::start(args.recording.clone(), Arc::clone(&board))?;
        let site = Arc::new(Site::new(board, layout, door));
        let stop = async {
            tokio::select! {
                () = ends(hangs_up, args.with_stdin) => {}
                () = looks.died => {}
            }
        };
        server.run(site, Arc::new(|text: String| warn!("page: {text}")), stop).await;
        drop(looks.ends);
        if looks.thread.join().is_err() {
            return Err(Failure::failed("the thread that looks has died; start it again, and tell us of it"));
        }
        Ok(Outcome::Done)
    })
}

/// Starts to tell people of what they asked to be told, once there is a recording, on a thread that ends with the sender; none where
/// that is nothing.
fn alerts(args: &Args, zone: &Zone) -> Result<Option<(Shared, mpsc::Sender<()>)>, Failure> {
    let (layout, registry) = (args.recording.layout(), args.recording.registry()?);
    let alerting = super::alerts::alerting(&layout, &registry)?;
    if alerting.is_empty() {
        return Ok(None);
    }
    let (shared, (ends, is_ended)) = (Shared::default(), mpsc::channel());
    let (tells, state, zone) = (shared.clone(), args.state.clone(), zone.clone());
    std::thread::Builder::new().name("alerts".to_owned()).spawn(move || {
        while !layout.buffer().exists() {
            if !matches!(is_ended.recv_timeout(AGAIN), Err(mpsc::RecvTimeoutError::Timeout)) {
                return;
            }
        }
        let config = Config::open(&layout, registry, alerting, (state, zone)).map_err(Failure::from);
        if let Err(failure) = config.and_then(|config| super::alerts::watch(config, &tells, &is_ended)) {
            let why = format!("no alerts: {}", failure.message());
            warn!("{why}");
            tells.fail(why);
        }
    })?;
    Ok(Some((shared, ends)))
}

/// The thread that looks.
struct Looks<D> {
    thread: std::thread::JoinHandle<()>,
    /// Dropped, it ends the thread.
    ends: mpsc::Sender<()>,
    /// Resolves when it has ended by itself.
    died: D,
}

impl Looks<()> {
    fn start(recording: Recording, board: Arc<Board>) -> Result<Looks<impl Future<Output = ()>>, Failure> {
        let (ends, is_ended) = mpsc::channel();
        let (alive, dies) = oneshot::channel::<()>();
        let layout = recording.layout();
        let thread = std::thread::Builder::new().name("look".to_owned()).spawn(move || {
            let _alive = alive;
            let schemas: look::Schemas = Box::new(move || recording.registry().map_err(Failure::message));
            look::run(&layout, &schemas, &board, &is_ended);
        })?;
        Ok(Looks { thread, ends, died: async move { drop(dies.await) } })
    }
}

/// Resolves when it is asked to end: by a signal, or by whoever started it and holds the other end of standard input. Ctrl-C is
/// meant for that one, which ends in its own time.
async fn ends(hangs_up: bool, with_stdin: bool) {
    if !with_stdin {
        stopped(hangs_up).await;
        return;
    }
    let (ended, is_ended) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut waste = [0; 64];
        while std::io::stdin().read(&mut waste).is_ok_and(|read| read > 0) {}
        drop(ended);
    });
    let is_interrupted = async { while tokio::signal::ctrl_c().await.is_ok() {} };
    tokio::select! {
        _ = is_ended => {}
        () = is_interrupted => {}
    }
}
