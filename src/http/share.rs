//! What each source holds of the budget of bodies, so that large mails of one do not keep out the events of the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::problem::Problem;

/// Bytes held, by source.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<String, Arc<AtomicUsize>>>);

impl Shares {
    /// For a body of this source of the config; all of its bodies together may hold so many bytes.
    pub(super) fn of(&self, source: &str, bytes_max: usize) -> Share {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = match sources.get(source) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(sources.entry(source.to_owned()).or_default()),
        };
        Share { of_source, bytes_max, held: 0 }
    }
}

/// What one body holds; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of_source: Arc<AtomicUsize>,
    bytes_max: usize,
    held: usize,
}

impl Share {
    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`Problem::BodiesOverBudget`]; then it is to be dropped.
    pub(super) fn take(&mut self, len: usize) -> Result<(), Problem> {
        self.held += len;
        let all = self.of_source.fetch_add(len, Ordering::Relaxed) + len;
        if all <= self.bytes_max { Ok(()) } else { Err(Problem::BodiesOverBudget) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of_source.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_takes_nothing_of_another() {
        let shares = Shares::default();
        let mut mail = shares.of("mail", 10);
        mail.take(6).unwrap();
        shares.of("mail", 10).take(4).unwrap();
        let mut more = shares.of("mail", 10);
        more.take(4).unwrap();
        assert!(matches!(shares.of("mail", 10).take(1), Err(Problem::BodiesOverBudget)));
        shares.of("events", 10).take(10).unwrap();
        drop(mail);
        more.take(6).unwrap();
        assert!(more.take(1).is_err());
    }
}
