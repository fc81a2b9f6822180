//! Which tokens does a pod carry, and which containers see them? A join of the containers' mounts
//! with the pod's volumes; for a template, with what admission would add.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{
    audience::{reach, verifier},
    automount::{receives_mount, reused_volume, should_automount},
    legacy::Holding,
};
use crate::model::{
    ApiAudiences, Carrier, CsiDriverFacts, Drift, Reach, TokenRequest, TokenSource,
    pod::{
        Container, Delegation, GENERATED, INJECTED_EXPIRATION_SECONDS, INJECTED_VOLUME_PREFIX,
        Mount, Origin, PodFacts, SubPath, TOKEN_MOUNT_PATH, TokenProjection, Volume,
    },
};

/// The account that tokens identify, with what is known about it.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    /// Its name, in the namespace of the pod.
    pub name: &'a str,
    /// Whether its object was seen.
    pub is_known: bool,
    /// Its `automountServiceAccountToken`.
    pub automount: Option<bool>,
    /// The Secrets that hold, or may hold, a token of it.
    pub secrets: &'a BTreeMap<&'a str, Holding>,
    /// The CSI drivers that are known.
    pub drivers: &'a BTreeMap<&'a str, &'a CsiDriverFacts>,
    /// What the API server accepts.
    pub audiences: &'a ApiAudiences,
}

/// The tokens of an account that a pod carries, sorted, each with the containers that see it; those
/// that only others receive for it have none.
///
/// A pod carries projected tokens of its own account, and tokens from Secrets of any account of its
/// namespace. Volumes that no container mounts carry nothing: the kubelet skips them.
#[must_use]
pub fn carriers(pod: &PodFacts, bearer: &Bearer<'_>) -> Vec<Carrier> {
    let own = pod.service_account.as_deref() == Some(bearer.name);
    let injected = should_automount(pod.automount, bearer.automount);
    let mut found: BTreeMap<Carrier, Vec<Box<str>>> = BTreeMap::new();
    // Whether another account disables automount is not known here.
    let injects = injected || (!own && pod.automount != Some(false));
    for container in pod.containers.iter() {
        let views = views(pod, container, injects && pod.origin == Origin::Template);
        let projected = views.iter().filter(|_| own).flat_map(projected);
        let projected = projected.map(|seen| carrier(pod, injected, &seen, bearer.audiences));
        for carrier in projected.chain(legacy(&views, container, bearer, own)) {
            let containers = found.entry(carrier).or_default();
            if containers.last() != Some(&container.name) {
                containers.push(container.name.clone());
            }
        }
    }
    if own {
        found.extend(delegated(pod, bearer).map(|carrier| (carrier, Vec::new())));
    }
    found
        .into_iter()
        .map(|(carrier, containers)| Carrier {
            containers,
            ..carrier
        })
        .collect()
}

/// The legacy tokens of an account that one container sees: in a volume, or in its environment.
fn legacy<'a>(
    views: &'a [View<'a>],
    container: &'a Container,
    bearer: &'a Bearer<'a>,
    own: bool,
) -> impl Iterator<Item = Carrier> {
    let mounted = views.iter().flat_map(|view| {
        let secrets = view.volume.secrets.iter();
        let exposed = secrets.filter(|token| exposes(view.sub_path, &token.path));
        exposed.map(|token| (&*token.secret, token.keys, view.mount_path))
    });
    let variables = container.variables.iter();
    let variables = variables.map(|variable| (&*variable.secret, variable.keys, ""));
    mounted
        .chain(variables)
        .filter_map(move |(secret, keys, mount_path)| {
            let holding = bearer.secrets.get(secret)?;
            Some(Carrier {
                source: TokenSource::LegacySecret,
                reach: holding.reach(keys, mount_path, own)?,
                audience: "".into(),
                verifier: None,
                expiration_seconds: None,
                mount_path: mount_path.into(),
                provider: secret.into(),
                containers: Vec::new(),
                drift: None,
            })
        })
}

/// The credentials other than tokens in volumes: tokens that a CSI driver requests, and certificates.
fn delegated(pod: &PodFacts, bearer: &Bearer<'_>) -> impl Iterator<Item = Carrier> {
    let carrier = |source, provider: &str, audience: &str, reach, seconds| Carrier {
        source,
        reach,
        audience: audience.into(),
        verifier: verifier(audience, reach),
        expiration_seconds: Some(seconds),
        mount_path: "".into(),
        provider: provider.into(),
        containers: Vec::new(),
        drift: None,
    };
    pod.rare.delegations.iter().flat_map(move |delegation| {
        let carriers: Vec<_> = match delegation {
            Delegation::CsiDriver(driver) => {
                let facts = bearer.drivers.get(&**driver);
                let requests = facts.into_iter().flat_map(|facts| &facts.token_requests);
                let token = |request: &TokenRequest| {
                    let reach = reach(&request.audience, bearer.audiences);
                    carrier(
                        TokenSource::CsiDriver,
                        driver,
                        &request.audience,
                        reach,
                        request.expiration_seconds,
                    )
                };
                requests.map(token).collect()
            }
            // Kubernetes has no built-in signer that its API server trusts (KEP-4317).
            Delegation::PodCertificate {
                signer,
                expiration_seconds,
            } => vec![carrier(
                TokenSource::PodCertificate,
                signer,
                "",
                Reach::External,
                *expiration_seconds,
            )],
        };
        carriers
    })
}

/// A volume, or a part of it, as one container sees it.
struct View<'a> {
    volume: &'a Volume,
    mount_path: &'a str,
    sub_path: &'a SubPath,
}

/// What one container sees: through its own mounts, then through the one that admission adds.
fn views<'a>(pod: &'a PodFacts, container: &'a Container, inject: bool) -> Vec<View<'a>> {
    let of_mount = |mount: &'a Mount| {
        let mut volumes = pod.volumes.iter();
        Some(View {
            volume: volumes.find(|volume| volume.name == mount.volume)?,
            mount_path: &mount.path,
            sub_path: &mount.sub_path,
        })
    };
    let added = (inject && receives_mount(container)).then(|| View {
        volume: reused_volume(pod).unwrap_or_else(|| injected_volume()),
        mount_path: TOKEN_MOUNT_PATH,
        sub_path: &SubPath::Whole,
    });
    let own = container.mounts.iter().filter_map(of_mount);
    own.chain(added).collect()
}

/// The volume that admission adds, reduced to its token. Mirrors `TokenVolumeSource`.
fn injected_volume() -> &'static Volume {
    static VOLUME: LazyLock<Volume> = LazyLock::new(|| Volume {
        name: INJECTED_VOLUME_PREFIX.into(),
        is_complete: true,
        tokens: [TokenProjection {
            audience: "".into(),
            expiration_seconds: INJECTED_EXPIRATION_SECONDS,
            path: "token".into(),
        }]
        .into(),
        secrets: Box::default(),
    });
    &VOLUME
}

/// A projected token that one container sees.
struct SeenToken<'a> {
    volume: &'a Volume,
    token: &'a TokenProjection,
    mount_path: &'a str,
}

fn projected<'a>(view: &View<'a>) -> impl Iterator<Item = SeenToken<'a>> + use<'a> {
    let View {
        volume,
        mount_path,
        sub_path,
    } = *view;
    let exposed = volume.tokens.iter();
    let exposed = exposed.filter(move |token| exposes(sub_path, &token.path));
    exposed.map(move |token| SeenToken {
        volume,
        token,
        mount_path,
    })
}

fn carrier(
    pod: &PodFacts,
    injected: bool,
    seen: &SeenToken<'_>,
    audiences: &ApiAudiences,
) -> Carrier {
    let automounted = is_injected(pod, injected, seen);
    let reach = reach(&seen.token.audience, audiences);
    Carrier {
        source: if automounted {
            TokenSource::Automount
        } else {
            TokenSource::Explicit
        },
        reach,
        audience: seen.token.audience.clone(),
        verifier: verifier(&seen.token.audience, reach),
        expiration_seconds: Some(seen.token.expiration_seconds),
        mount_path: seen.mount_path.into(),
        provider: "".into(),
        containers: Vec::new(),
        drift: (automounted && !injected && pod.automount != Some(false))
            .then_some(Drift::RemovedOnRecreate),
    }
}

/// Whether a token has the form that only admission gives it, in a pod that admission has changed. A
/// manifest copied from a live pod has that form too: there it counts only if automount is enabled.
fn is_injected(pod: &PodFacts, injected: bool, seen: &SeenToken<'_>) -> bool {
    let acted = match pod.origin {
        // The account may have changed since; the pod itself cannot: it got its volume before a policy or webhook
        // changed the field.
        Origin::Live if injected => true,
        // Automount is disabled by now, and the volume is older.
        Origin::Live if pod.automount.is_none() => seen.mount_path == TOKEN_MOUNT_PATH,
        Origin::Live => pod.automount == Some(true) || is_changed_too_late(pod, seen),
        Origin::Template => injected,
    };
    acted
        && seen.volume.name.starts_with(INJECTED_VOLUME_PREFIX)
        && seen.token.audience.is_empty()
        && seen.token.expiration_seconds == INJECTED_EXPIRATION_SECONDS
}

/// Whether a token is in a volume with the name and the sources that admission gives it, where admission mounts it.
fn is_changed_too_late(pod: &PodFacts, seen: &SeenToken<'_>) -> bool {
    let is_generated = seen.volume.name.strip_prefix(INJECTED_VOLUME_PREFIX) == Some(GENERATED);
    pod.origin == Origin::Live
        && is_generated
        && seen.volume.is_complete
        && seen.mount_path == TOKEN_MOUNT_PATH
}

/// Whether a mount exposes the file at `token_path` in its volume.
///
/// A part that is only known when the container starts counts as yes. `..data` is the kubelet's link
/// to the directory of the current files, whose name begins with `..` and a date.
pub(super) fn exposes(sub_path: &SubPath, token_path: &str) -> bool {
    let sub_path = match sub_path {
        SubPath::Whole => return true,
        SubPath::Expression(expression) if expression.contains("$(") => return true,
        SubPath::Path(path) | SubPath::Expression(path) => path,
    };
    let mut exposed = parts(sub_path);
    match exposed.first() {
        Some(&"..data") => drop(exposed.remove(0)),
        Some(first) if first.starts_with("..") => return true,
        _ => {}
    }
    parts(token_path).starts_with(&exposed)
}

/// The components of a path.
fn parts(path: &str) -> Vec<&str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_exposes_the_token_only_where_it_leads_to_it() {
        let path = |path: &str| SubPath::Path(path.into());
        let cases = [
            (SubPath::Whole, "token", true),
            (path(""), "token", true),
            (path("."), "token", true),
            (path("token"), "token", true),
            (path("./token"), "token", true),
            (path("..data/token"), "token", true),
            (path("..data"), "token", true),
            (path("..2026_01_01/ca.crt"), "token", true),
            (path("ca.crt"), "token", false),
            (path("..data/ca.crt"), "token", false),
            (path("aws"), "aws/token", true),
            (path("aws/"), "aws/token", true),
            (path("aw"), "aws/token", false),
            (path("token/deeper"), "token", false),
            (SubPath::Expression("$(POD_NAME)".into()), "token", true),
            (SubPath::Expression("ca.crt".into()), "token", false),
        ];
        for (sub_path, token_path, expected) in cases {
            assert_eq!(
                exposes(&sub_path, token_path),
                expected,
                "{sub_path:?} {token_path}"
            );
        }
    }
}
