//! Why a policy that withholds unneeded tokens leaves one in: whatever speaks for the token.

use std::{collections::BTreeSet, fmt};

use super::{
    Exposure, Level, Reach, TokenSource, Verdict, WorkloadExposure,
    note::{Note, NoteType},
    pod::TOKEN_MOUNT_PATH,
    rbac::Effect,
    summary::is_plain,
};

/// What speaks for a token, of an account or of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keep {
    /// The account has a permission.
    Permission,
    /// A binding names it whose role does not exist yet, has no rules yet, or is not known.
    Promised,
    /// A binding nearly names it.
    NearlyNamed,
    /// The answer depends on what could not be read.
    Gap,
    /// The verdict on the workload is another one than that its token is unneeded, or withheld.
    Verdict(Verdict),
    /// Audit logs show use, also such as needs no permission.
    Used,
    /// An exemption is written down, also one that has ended: a policy has no clock.
    Exempted,
    /// Its pods say `automountServiceAccountToken: true` themselves.
    AskedFor,
    /// Its pods project a token, or mount it at another place: somebody knows what for.
    OwnMount,
    /// A container mounts the file of the token alone, and could not start without.
    Pinned,
    /// A command starts a client that opens the token first.
    OpenedAtStart,
    /// Something else must be changed first.
    ChangedFirst,
    /// It is of a custom kind, whose pods a policy cannot recognise.
    CustomKind,
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Permission => "the account has a permission",
            Self::Promised => "a binding names the account, and its role grants nothing yet",
            Self::NearlyNamed => "a binding may mean the account, and names another one",
            Self::Gap => "what the answer depends on could not be read",
            Self::Verdict(verdict) => return write!(f, "the verdict is {verdict}"),
            Self::Used => "audit logs show that the token was used",
            Self::Exempted => "an exemption is written down",
            Self::AskedFor => "the pods say automountServiceAccountToken: true",
            Self::OwnMount => "the pods project or mount a token themselves",
            Self::Pinned => "a container mounts the file of the token alone, by subPath",
            Self::OpenedAtStart => "a command starts a client that opens the token first",
            Self::ChangedFirst => "something else must be changed first: see the remediation",
            Self::CustomKind => "the workload is of a custom kind",
        })
    }
}

impl Exposure {
    /// What speaks for the tokens of all its workloads.
    #[must_use]
    pub fn keeps(&self) -> BTreeSet<Keep> {
        let has = |effects: &[Effect]| {
            let mut grants = self.permissions.grants.iter();
            grants.any(|grant| effects.contains(&grant.effect))
        };
        let mut notes = self.notes.iter();
        let found = [
            (
                Keep::Permission,
                self.permissions.level != Level::None
                    || has(&[Effect::Grants])
                    || self.permissions.is_named_for_widened,
            ),
            (Keep::Promised, has(&[Effect::Latent, Effect::Unresolved])),
            (
                Keep::NearlyNamed,
                notes.any(|note| note.type_() == NoteType::NearlyNamedBy),
            ),
            (Keep::Gap, !self.gaps.is_empty()),
        ];
        chosen(&found).collect()
    }
}

impl WorkloadExposure {
    /// What speaks for its token, beside what does for the account.
    #[must_use]
    pub fn all_keeps(&self) -> BTreeSet<Keep> {
        let is_unneeded = matches!(self.verdict, Verdict::Unneeded | Verdict::Withheld);
        let is_pinned = self
            .notes
            .iter()
            .any(|note| matches!(note, Note::Pinned(_)));
        let mut carriers = self.carriers.iter();
        let is_plainly_mounted = carriers.all(|carrier| match carrier.source {
            TokenSource::Automount => *carrier.mount_path == *TOKEN_MOUNT_PATH,
            TokenSource::Explicit => carrier.reach == Reach::External,
            TokenSource::LegacySecret => false,
            TokenSource::CsiDriver | TokenSource::PodCertificate => true,
        });
        let is_used = self.usage.as_ref().is_some_and(|used| used.last.is_some());
        let found = [
            (Keep::Verdict(self.verdict), !is_unneeded),
            (Keep::Used, is_used),
            (Keep::Exempted, self.exemption.is_some()),
            (Keep::OwnMount, !is_plainly_mounted),
            (Keep::Pinned, is_pinned),
            (Keep::CustomKind, !is_plain(&self.workload)),
        ];
        self.keeps.iter().copied().chain(chosen(&found)).collect()
    }
}

fn chosen(found: &[(Keep, bool)]) -> impl Iterator<Item = Keep> {
    let found = found.iter().filter(|(_, is_so)| *is_so);
    found.map(|(keep, _)| *keep)
}
