//! Nothing listens in the clear to other machines, unless it is told to in so many words.

use std::net::{IpAddr, SocketAddr};

/// The key of a configuration file that allows it.
pub const ALLOWED_BY: &str = "plaintext_beyond_loopback";

/// Whether other machines reach a listener at this address.
pub fn is_exposed(listen: SocketAddr) -> bool {
    match listen.ip() {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
    }
}

/// What is wrong with listening at these addresses (key and address), with the key: other machines reach one of them, there
/// is no TLS, and nobody said that this is meant.
pub fn problem(
    listeners: &[(&'static str, SocketAddr)],
    has_tls: bool,
    is_allowed: bool,
) -> Option<(&'static str, String)> {
    if has_tls || is_allowed {
        return None;
    }
    let (key, listen) = listeners.iter().find(|(_, listen)| is_exposed(*listen))?;
    let problem = format!(
        "other machines reach {listen}, and there is no [tls] section: whoever reaches it could read and change everything. \
         Give it certificates (vigil pki), listen on 127.0.0.1, or write {ALLOWED_BY} = true"
    );
    Some((key, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_not_reached_by_others() {
        for inside in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(!is_exposed(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(is_exposed(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn the_listener_at_fault_is_named_with_what_to_do() {
        let listeners = [("listen", "127.0.0.1:1".parse().unwrap()), ("ops_listen", "0.0.0.0:2".parse().unwrap())];
        let (key, told) = problem(&listeners, false, false).unwrap();
        assert!(key == "ops_listen" && told.contains("0.0.0.0:2") && told.contains(ALLOWED_BY), "{told}");
        assert_eq!(problem(&listeners, true, false), None);
        assert_eq!(problem(&listeners, false, true), None);
    }
}
