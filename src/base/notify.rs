//! What a service manager is told, as `sd_notify` of systemd has it: lines in a datagram, to the socket that the environment names.
//! Twenty lines of the standard library, so no crate.

use std::io;
use std::time::Duration;

/// The service manager that started this process, and wants to hear from it.
#[derive(Debug)]
pub struct Manager {
    #[cfg(unix)]
    socket: std::os::unix::net::UnixDatagram,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The manager that the variables of the environment name; none where nobody asks.
    ///
    /// # Errors
    /// When there is no such socket.
    #[cfg(unix)]
    pub fn find(variable: impl Fn(&str) -> Option<String>) -> io::Result<Option<Self>> {
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(None) };
        let address = match name.strip_prefix('@') {
            #[cfg(target_os = "linux")]
            Some(name) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A manager that stands still holds up nobody.
        socket.set_write_timeout(Some(Duration::from_secs(1)))?;
        // The variables may be those of a parent.
        let is_meant = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_meant).and_then(|micros| micros.parse().ok());
        Ok(Some(Self { socket, watchdog: micros.filter(|micros| *micros > 0).map(Duration::from_micros) }))
    }

    /// None on this system.
    ///
    /// # Errors
    /// Never.
    #[cfg(not(unix))]
    pub fn find(_variable: impl Fn(&str) -> Option<String>) -> io::Result<Option<Self>> {
        Ok(None)
    }

    /// How long this process may be silent before the manager takes it for dead; none where it is not watched.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells something, such as `READY=1`; several on a line each.
    ///
    /// # Errors
    /// When the manager does not take it.
    pub fn tell(&self, lines: &str) -> io::Result<()> {
        #[cfg(unix)]
        self.socket.send(lines.as_bytes())?;
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn the_manager_of_the_environment_is_told_and_watches_only_whom_it_means() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let found = |pid: Option<u32>, micros: &str| {
            let variable = |name: &str| match name {
                "NOTIFY_SOCKET" => Some(path.to_str().unwrap().to_owned()),
                "WATCHDOG_USEC" => Some(micros.to_owned()),
                _ => pid.map(|pid| pid.to_string()),
            };
            Manager::find(variable).unwrap().unwrap()
        };
        let own = std::process::id();
        assert_eq!(found(Some(own), "60000000").watchdog(), Some(Duration::from_mins(1)));
        assert_eq!(found(None, "1").watchdog(), Some(Duration::from_micros(1)));
        for (pid, micros) in [(Some(own + 1), "60000000"), (None, "0"), (None, "soon")] {
            assert_eq!(found(pid, micros).watchdog(), None);
        }
        found(None, "").tell("READY=1\nSTATUS=so").unwrap();
        let mut said = [0; 100];
        let length = manager.recv(&mut said).unwrap();
        assert_eq!(&said[..length], b"READY=1\nSTATUS=so");
        assert!(Manager::find(|_| None).unwrap().is_none());
        let gone = |name: &str| (name == "NOTIFY_SOCKET").then(|| "/nowhere/at/all".to_owned());
        assert!(Manager::find(gone).is_err());
    }
}
