//! What an endpoint that was made through the API keeps in the store: its signing secrets and its static headers, sealed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::EndpointId;
use super::seal::{MasterKeys, OpenError, Place, Sealed, open};
use super::secret::SigningSecret;

/// How long an old secret goes on signing beside the new one, unless told.
pub const OVERLAP_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// The longest that it may.
pub const OVERLAP_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Sealed secrets and headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The newest first, and while it is rotated the one before.
    secrets: Vec<KeptSecret>,
    /// The values of the static headers by their names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Sealed>,
}

/// A signing secret, and for how long it signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSecret {
    /// Its text.
    pub sealed: Sealed,
    /// Since when it signs.
    pub created_at: Timestamp,
    /// From when on it does not; absent of the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The request that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<String>,
}

/// A rotation that would end an overlap early which was promised to receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverlapRuns {
    /// When the overlap ends.
    pub until: Timestamp,
}

impl Kept {
    /// With its first secret.
    pub fn new(secret: Sealed, headers: BTreeMap<String, Sealed>, now: Timestamp) -> Self {
        Self { secrets: vec![KeptSecret { sealed: secret, created_at: now, expires_at: None, made_by: None }], headers }
    }

    /// The same whose newest secret this request made.
    #[must_use]
    pub fn made_by(mut self, request: &str) -> Self {
        if let Some(newest) = self.secrets.first_mut() {
            newest.made_by = Some(request.to_owned());
        }
        self
    }

    /// Whether this request made a secret that is kept.
    pub fn has_of(&self, request: &str) -> bool {
        self.secrets.iter().any(|secret| secret.made_by.as_deref() == Some(request))
    }

    /// The newest secret, if this request made it.
    pub fn newest_of(&self, request: &str) -> Option<&KeptSecret> {
        self.secrets.first().filter(|secret| secret.made_by.as_deref() == Some(request))
    }

    /// The secrets that sign now, the newest first.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &KeptSecret> {
        self.secrets.iter().filter(move |secret| secret.expires_at.is_none_or(|until| until > now))
    }

    /// The secret before the newest, while it signs, and until when.
    pub fn old(&self, now: Timestamp) -> Option<(&KeptSecret, Timestamp)> {
        self.live(now).find_map(|secret| Some((secret, secret.expires_at?)))
    }

    /// The same after a rotation: the secret so far signs beside the new one until the overlap ends. With an overlap of
    /// zero the new one is the only one at once, also in the middle of another overlap: that is for one that has leaked.
    ///
    /// # Errors
    /// When an overlap is running: at most two secrets sign at a time, and a receiver may yet need the older.
    pub fn rotated(&self, secret: Sealed, overlap: Duration, now: Timestamp) -> Result<Self, OverlapRuns> {
        let mut next = Self::new(secret, self.headers.clone(), now);
        if overlap.is_zero() {
            return Ok(next);
        }
        if let Some((_, until)) = self.old(now) {
            return Err(OverlapRuns { until });
        }
        // The last moment there is, when the sum is later than that.
        let until = now.checked_add(overlap).unwrap_or(Timestamp::MAX);
        let newest = self.secrets.first().cloned();
        next.secrets.extend(newest.map(|newest| KeptSecret { expires_at: Some(until), ..newest }));
        Ok(next)
    }

    /// The same without the secrets that are to sign no longer: those that have expired, and if told the one in overlap.
    #[must_use]
    pub fn pruned(&self, with_old: bool, now: Timestamp) -> Self {
        let stays = |secret: &&KeptSecret| !with_old || secret.expires_at.is_none();
        Self { secrets: self.live(now).filter(stays).cloned().collect(), headers: self.headers.clone() }
    }

    /// The same without secrets that have expired, each value sealed anew by this function.
    ///
    /// # Errors
    /// The first of the function.
    pub fn resealed<E>(
        &self,
        endpoint: &EndpointId,
        now: Timestamp,
        mut seal: impl FnMut(Place<'_>, &Sealed) -> Result<Sealed, E>,
    ) -> Result<Self, E> {
        let mut next = self.pruned(false, now);
        for secret in &mut next.secrets {
            secret.sealed = seal(Place::Secret(endpoint), &secret.sealed)?;
        }
        for (name, value) in &mut next.headers {
            *value = seal(Place::Header(endpoint, name), value)?;
        }
        Ok(next)
    }

    /// The ids of the master keys that what it holds needs.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let secrets = self.secrets.iter().map(|secret| &secret.sealed);
        secrets.chain(self.headers.values()).map(|sealed| sealed.key.as_ref())
    }

    /// Opens what it holds.
    pub fn open(&self, endpoint: &EndpointId, keys: &MasterKeys) -> Opened {
        let mut opened = Opened::default();
        for (name, sealed) in &self.headers {
            match open(keys, Place::Header(endpoint, name), sealed) {
                Ok(value) => drop(opened.headers.insert(name.clone(), value)),
                Err(error) => opened.failed_header = Some(error),
            }
        }
        for secret in &self.secrets {
            match open_secret(endpoint, keys, &secret.sealed) {
                Ok(text) => opened.secrets.push(text),
                // The newest is what matters longest.
                Err(error) if opened.failed_secret.is_none() => opened.failed_secret = Some((error, secret.expires_at)),
                Err(_) => {}
            }
            opened.old_until = opened.old_until.or(secret.expires_at);
        }
        opened
    }
}

/// Opens a signing secret of this endpoint.
///
/// # Errors
/// When its master key is not at hand, or it is not what that sealed.
pub fn open_secret(endpoint: &EndpointId, keys: &MasterKeys, sealed: &Sealed) -> Result<SigningSecret, OpenError> {
    let text = open(keys, Place::Secret(endpoint), sealed)?;
    SigningSecret::parse(&text).map_err(|_| OpenError::Wrong(sealed.key.clone()))
}

/// What an endpoint keeps, opened once. Its answers are for a moment, so that an overlap ends by the clock alone.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    secrets: Vec<SigningSecret>,
    /// When the last of two secrets expires.
    old_until: Option<Timestamp>,
    /// The static headers.
    pub headers: BTreeMap<String, String>,
    /// Why one of them does not open.
    failed_header: Option<OpenError>,
    /// The same of a secret, and until when it is missed.
    failed_secret: Option<(OpenError, Option<Timestamp>)>,
}

impl Opened {
    /// What signs at this moment, the newest first. Nothing while something that is needed does not open: a request
    /// without one of its signatures or headers would be refused by who expects them.
    pub fn secrets(&self, now: Timestamp) -> &[SigningSecret] {
        if self.failed_header.is_some() { &[] } else { self.live(now).unwrap_or_default() }
    }

    /// The secrets that are live at this moment, whatever becomes of the headers.
    ///
    /// # Errors
    /// Why one of them does not open.
    pub fn live(&self, now: Timestamp) -> Result<&[SigningSecret], &OpenError> {
        match (&self.failed_secret, self.old_until) {
            (Some((error, until)), _) if until.is_none_or(|until| until > now) => Err(error),
            (_, Some(until)) if until <= now => Ok(&self.secrets[..self.secrets.len().min(1)]),
            _ => Ok(&self.secrets),
        }
    }

    /// Why it cannot be used at this moment.
    pub fn failed(&self, now: Timestamp) -> Option<&OpenError> {
        self.failed_header.as_ref().or_else(|| self.live(now).err())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::seal::{KEY_LEN, MasterKey, seal};
    use super::*;

    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const NEXT: &str = "a text of more than 16";
    const DAY: Duration = OVERLAP_DEFAULT;

    fn key(id: &str, byte: u8) -> MasterKey {
        MasterKey::read(id, &STANDARD.encode([byte; KEY_LEN])).unwrap()
    }

    fn keys(all: &[(&str, u8)]) -> MasterKeys {
        all.iter().map(|(id, byte)| key(id, *byte)).collect()
    }

    fn sealed(by: &MasterKey, text: &str) -> Sealed {
        seal(by, Place::Secret(&"wh_1".into()), text, [0; 12]).unwrap()
    }

    fn kept(by: &MasterKey, text: &str) -> Kept {
        Kept::new(sealed(by, text), BTreeMap::new(), at(0))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn texts(secrets: &[SigningSecret]) -> Vec<&str> {
        secrets.iter().map(SigningSecret::text).collect()
    }

    #[test]
    fn both_sign_within_the_overlap_and_only_the_new_one_from_its_end_on() {
        let (a, keys) = (key("a", 1), keys(&[("a", 1)]));
        let rotated = kept(&a, OLD).rotated(sealed(&a, NEW), DAY, at(10)).unwrap();
        // Opened once, asked again and again.
        let opened = rotated.open(&"wh_1".into(), &keys);
        let end = 10 + 24 * 3_600;
        assert_eq!(texts(opened.secrets(at(10))), [NEW, OLD]);
        assert_eq!(texts(opened.secrets(at(end - 1))), [NEW, OLD]);
        assert_eq!(texts(opened.secrets(at(end))), [NEW]);
        assert_eq!(rotated.old(at(end - 1)).unwrap().1, at(end));
        assert_eq!(rotated.old(at(end)), None);
    }

    #[test]
    fn at_most_two_sign_and_none_that_was_promised_is_dropped_unasked() {
        let (a, keys) = (key("a", 1), keys(&[("a", 1)]));
        let rotated = kept(&a, OLD).rotated(sealed(&a, NEW), DAY, at(0)).unwrap();
        let again = |overlap, second| rotated.rotated(sealed(&a, NEXT), overlap, at(second));
        let signs = |kept: Kept, second| {
            let opened = kept.open(&"wh_1".into(), &keys);
            texts(opened.secrets(at(second))).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(again(DAY, 1), Err(OverlapRuns { until: at(24 * 3_600) }));
        assert_eq!(signs(again(Duration::ZERO, 1).unwrap(), 1), [NEXT]);
        assert_eq!(signs(again(DAY, 24 * 3_600).unwrap(), 24 * 3_600), [NEXT, NEW]);
        assert_eq!(signs(rotated.pruned(true, at(1)), 1), [NEW]);
        assert_eq!(signs(rotated.pruned(false, at(1)), 1), [NEW, OLD]);
        assert_eq!(rotated.pruned(false, at(24 * 3_600)).secrets.len(), 1);
    }

    #[test]
    fn what_does_not_open_is_missed_for_as_long_as_it_is_needed() {
        let (a, b) = (key("a", 1), key("b", 2));
        let rotated = kept(&a, OLD).rotated(sealed(&b, NEW), DAY, at(0)).unwrap();
        let opened = |all: &[(&str, u8)]| rotated.open(&"wh_1".into(), &keys(all));
        let (only_new, only_old) = (opened(&[("b", 2)]), opened(&[("a", 1)]));
        let end = at(24 * 3_600);
        assert!(only_new.secrets(at(1)).is_empty() && only_old.secrets(at(1)).is_empty());
        assert_eq!(only_new.failed(at(1)).unwrap().key(), "a");
        assert_eq!((only_new.failed(end), texts(only_new.secrets(end))), (None, vec![NEW]));
        assert_eq!((only_old.failed(end).unwrap().key(), texts(only_old.secrets(end))), ("b", vec![]));
    }

    #[test]
    fn a_header_that_does_not_open_is_missed_for_good() {
        let (a, place) = (key("a", 1), "wh_1".into());
        let header = |by, text| seal(by, Place::Header(&place, "authorization"), text, [0; 12]).unwrap();
        let with = |header| Kept { headers: [("authorization".to_owned(), header)].into(), ..kept(&a, NEW) };
        let open = |kept: Kept| kept.open(&place, &keys(&[("a", 1)]));
        let opened = open(with(header(&a, "Bearer x")));
        assert_eq!((opened.headers["authorization"].as_str(), texts(opened.secrets(at(0)))), ("Bearer x", vec![NEW]));
        let failed = open(with(header(&key("b", 2), "Bearer x")));
        assert!(failed.secrets(at(0)).is_empty());
        assert_eq!(failed.failed(at(0)).unwrap().key(), "b");
        assert_eq!(texts(failed.live(at(0)).unwrap()), [NEW], "it can be given again");
    }
}
