//! Through which proxy is the API server reached? As kubectl decides it: `proxy-url` of the kubeconfig counts, else
//! `HTTPS_PROXY` of the environment, but for the hosts of `NO_PROXY` and for the machine itself
//! (`httpproxy.Config.ProxyFunc` of golang.org/x/net).

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// The variables that kube reads.
const VARIABLES: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// The proxy between us and a server, given the one that kube found.
pub(super) fn between(server: &Uri, found: Option<Uri>) -> Option<Uri> {
    let found = found?;
    let mut variables = VARIABLES
        .into_iter()
        .filter_map(|name| std::env::var(name).ok());
    let is_of_environment =
        variables.any(|value| value.parse().is_ok_and(|proxy: Uri| proxy == found));
    let is_used = !is_of_environment || leads_to(server, &Matcher::from_env());
    is_used.then_some(found)
}

/// Whether the proxy of an environment leads to a server.
fn leads_to(server: &Uri, environment: &Matcher) -> bool {
    let host = server.host().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_this_machine = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    !is_this_machine && environment.intercept(server).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_the_environment_leads_to_all_hosts_but_those_of_no_proxy_and_this_machine() {
        let proxy = "http://proxy.example:3128";
        let no_proxy = "cluster.local,10.0.0.0/8,api.example";
        let environment = Matcher::builder().https(proxy).no(no_proxy).build();
        let none = Matcher::builder().no(no_proxy).build();
        for (server, is_proxied) in [
            ("https://k8s.example:6443", true),
            ("https://192.0.2.1:6443", true),
            ("https://10.1.2.3:6443", false),
            ("https://api.example:6443", false),
            ("https://eu.api.example", false),
            ("https://k8s.cluster.local", false),
            ("https://localhost:6443", false),
            ("https://127.0.0.1:6443", false),
            ("https://[::1]:6443", false),
        ] {
            let server = Uri::from_static(server);
            assert_eq!(leads_to(&server, &environment), is_proxied, "{server}");
            assert!(!leads_to(&server, &none), "{server}");
        }
    }

    #[test]
    fn the_proxy_of_a_kubeconfig_counts_always() {
        let proxy = Some(Uri::from_static("http://proxy.of.a.kubeconfig.example"));
        let server = Uri::from_static("https://127.0.0.1:6443");
        assert_eq!(between(&server, proxy.clone()), proxy);
        assert_eq!(between(&server, None), None);
    }
}
