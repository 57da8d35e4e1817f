//! Which names the simulator answers to. A page that somebody here looks at in a browser can have its own name lead to this machine,
//! and would then read and write here as if it were at home; a name that nobody can buy never leads here by somebody else's will.

use super::refusal::Refusal;
use axum::extract::Request;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Endings that are set apart for use at home, in containers and in tests.
const AT_HOME: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "test", "example"];

/// Refuses requests by a name of the web.
pub(super) async fn at_home(request: Request, next: Next) -> Response {
    if is_at_home(request.uri(), request.headers()) {
        next.run(request).await
    } else {
        // Misdirected.
        Refusal::status(421).into_response()
    }
}

fn is_at_home(uri: &Uri, headers: &HeaderMap) -> bool {
    let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or("?.?"));
    // Without any, it is no browser.
    named.chain(uri.host()).all(|host| is_name_at_home(host.trim()))
}

fn is_name_at_home(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    // The colons of an address without brackets are none before a port.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    let ends = |ending: &str| name.strip_suffix(ending).is_some_and(|before| before.ends_with('.'));
    !name.contains('.') || address.parse::<IpAddr>().is_ok() || AT_HOME.iter().any(|ending| ends(ending) || name == *ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_that_nobody_can_buy_are_at_home_and_no_others() {
        for host in ["localhost", "localhost:8800", "127.0.0.1:8800", "[::1]:8800", "::1", "192.168.0.7", "simulator:80", "x", ""]
        {
            assert!(is_name_at_home(host), "{host}");
        }
        for host in ["host.docker.internal:1", "pi.local.", "simulator.default.svc.cluster.local", "a.localhost"] {
            assert!(is_name_at_home(host), "{host}");
        }
        for host in [
            "evil.example.com:8800",
            "evil.com",
            "127.0.0.1.nip.io",
            "localhost.evil.com",
            "evil.com.",
            "[::1].evil.com",
            "evil.com:1:2",
        ] {
            assert!(!is_name_at_home(host), "{host}");
        }
    }
}
