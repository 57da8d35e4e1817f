//! Host: by which names a server lets itself be called.
//!
//! A page of the web can lead its own name to any address, and then reads what it finds there as its own. It cannot choose what
//! the browser says in `Host`, which is that name.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::HOST;
use hyper::http::uri::Authority;

/// The names that are answered to.
#[derive(Debug)]
pub(super) struct Hosts {
    address: IpAddr,
    names: Vec<String>,
}

impl Hosts {
    pub(super) fn new(address: IpAddr, names: &[String]) -> Self {
        Self { address, names: names.iter().map(|name| plain(name)).collect() }
    }

    /// Whether a request is meant for this server. The port is not looked at: a tunnel has its own. Who names nobody is no browser.
    pub(super) fn are_meant<B>(&self, request: &Request<B>) -> bool {
        let header = request.headers().get(HOST).map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
        let line = request.uri().authority().map(|host| Some(host.clone()));
        [header, line].into_iter().flatten().all(|host| host.is_some_and(|host| self.is_own(&host)))
    }

    fn is_own(&self, host: &Authority) -> bool {
        let name = plain(host.host());
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name).parse::<IpAddr>();
        match address {
            // Who listens on all addresses has each of them; an address is nobody's name.
            Ok(address) => self.address.is_unspecified() || address.to_canonical() == self.address.to_canonical(),
            Err(_) => name == "localhost" || self.names.contains(&name),
        }
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_calls_a_server_by_its_own_name_or_address_is_meant() {
        let are_meant = |bound: &str, host: &str| {
            let hosts = Hosts::new(bound.parse().unwrap(), &["Pi.Home".to_owned()]);
            hosts.are_meant(&Request::builder().header(HOST, host).body(()).unwrap())
        };
        for host in ["127.0.0.1:8802", "127.0.0.1", "localhost:9", "LOCALHOST", "localhost.", "pi.home:8802", "PI.home."] {
            assert!(are_meant("127.0.0.1", host), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "user@evil.example", "", "a b", "localhost.evil.example"]
        {
            assert!(!are_meant("127.0.0.1", host), "{host}");
        }
        assert!(are_meant("::1", "[::1]:8802") && !are_meant("::1", "[::2]"));
        assert!(are_meant("0.0.0.0", "192.168.1.7:80") && are_meant("::", "[fe80::1]") && !are_meant("0.0.0.0", "evil.example"));
        let hosts = Hosts::new("127.0.0.1".parse().unwrap(), &[]);
        assert!(hosts.are_meant(&Request::builder().body(()).unwrap()));
        let line = Request::builder().uri("http://evil.example/").header(HOST, "localhost").body(()).unwrap();
        assert!(!hosts.are_meant(&line));
    }
}
