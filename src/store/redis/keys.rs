//! The names of keys. All of one partition share a hash tag, so that one script can touch them.

use crate::domain::delivery::Class;
use crate::domain::id::{EndpointId, EventId, MailKey, ReplayId, RequestId, hash64};
use crate::store::{Result, StoreError};

/// How many partitions there are; fixed, for it decides where everything is. Few, for a script's call costs more than what
/// it does for one more event, and what comes in together is shared out among all of them. Consumers know the
/// number too (`docs/redis-streams.md`): with another one the prefix must be another.
pub(super) const PARTITIONS: u16 = 4;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let step = |crc: u16, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
        (0..8).fold(crc ^ u16::from(*byte) << 8, step)
    })
}

/// Every partition.
pub(super) fn all() -> impl Iterator<Item = Partition> {
    (0..PARTITIONS).map(Partition)
}

/// One partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Partition(pub(super) u16);

impl Partition {
    /// Where what concerns the whole is kept.
    pub(super) const FIRST: Self = Self(0);

    pub(super) fn of_mail(mail: MailKey) -> Self {
        Self(mail.partition(PARTITIONS))
    }

    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self::of_mail(MailKey(hash64(&[bytes])))
    }

    /// Its slot in a cluster: a CRC of what is between the braces (Redis Cluster Specification, "Key distribution model").
    pub(super) fn slot(self) -> u16 {
        crc16(format!("wp:{}", self.0).as_bytes()) % SLOTS
    }

    pub(super) fn prefix(self) -> String {
        format!("{{wp:{}}}:", self.0)
    }

    pub(super) fn key(self, name: &str) -> String {
        format!("{{wp:{}}}:{name}", self.0)
    }

    pub(super) fn event(self, id: &EventId) -> String {
        self.key(&format!("e:{id}"))
    }

    pub(super) fn of_request(id: &RequestId) -> Self {
        Self::of_bytes(id.as_str().as_bytes())
    }

    pub(super) fn request(self, id: &RequestId) -> String {
        self.key(&format!("r:{id}"))
    }

    /// That a request was erased: none of its events is to come back to this partition.
    pub(super) fn erased(self, id: &RequestId) -> String {
        self.key(&format!("z:{id}"))
    }

    /// What of a request was not understood.
    pub(super) fn lacks(self, id: &RequestId) -> String {
        self.key(&format!("n:{id}"))
    }
}

/// A place in the feeds: by the commit, then by the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FeedPlace {
    pub(super) ms: u64,
    pub(super) sequence: u64,
    pub(super) partition: Partition,
}

impl FeedPlace {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(str::parse::<u64>);
        let (ms, sequence, partition) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let partition = all().find(|known| u64::from(known.0) == partition)?;
        parts.next().is_none().then_some(Self { ms, sequence, partition })
    }

    pub(super) fn from_cursor(cursor: &str) -> Result<Self> {
        Self::parse(cursor).ok_or(StoreError::BadCursor)
    }

    /// Where a partition's feed goes on below this place.
    pub(super) fn below(self, partition: Partition) -> String {
        let exclusive = if partition < self.partition { "" } else { "(" };
        format!("{exclusive}{}-{}", self.ms, self.sequence)
    }

    /// Where a commit of this stamp is.
    pub(super) fn of(stamp: u64, partition: Partition) -> Self {
        Self { ms: stamp / 1_000, sequence: stamp % 1_000, partition }
    }

    /// The stamp of its commit.
    pub(super) fn stamp(self) -> u64 {
        self.ms.saturating_mul(1_000).saturating_add(self.sequence)
    }

    pub(super) fn cursor(self) -> String {
        format!("{}-{}-{}", self.ms, self.sequence, self.partition.0)
    }
}

/// What a delivery is called next to its endpoint: `<event>`, or `<event>~<replay>`.
pub(super) fn name(event: &EventId, replay: Option<&ReplayId>) -> String {
    replay.map_or_else(|| event.to_string(), |replay| format!("{event}~{replay}"))
}

pub(super) fn read_name(name: &str) -> (EventId, Option<ReplayId>) {
    match name.split_once('~') {
        Some((event, replay)) => (event.into(), Some(replay.into())),
        None => (name.into(), None),
    }
}

/// A member of a status index: `<name>|<endpoint>`.
pub(super) struct Entry {
    pub(super) event: EventId,
    pub(super) replay: Option<ReplayId>,
    pub(super) endpoint: EndpointId,
}

impl Entry {
    pub(super) fn parse(member: &str) -> Option<Self> {
        let (name, endpoint) = member.split_once('|')?;
        let (event, replay) = read_name(name);
        Some(Self { event, replay, endpoint: endpoint.into() })
    }
}

/// The length of a stamp: microseconds, as scripts write them.
pub(super) const STAMP_LEN: usize = 16;
/// The length of a mail's key.
const MAIL_LEN: usize = 16;

/// The stamp that something begins with.
pub(super) fn stamp(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes.get(..STAMP_LEN)?).ok()?.parse().ok()
}

/// A place in a lane: `<stamp><mail><name>`.
pub(super) fn lane_entry(entry: &str) -> Option<(MailKey, EventId, Option<ReplayId>)> {
    let (mail, name) = entry.get(STAMP_LEN..)?.split_at_checked(MAIL_LEN)?;
    let (event, replay) = read_name(name);
    Some((MailKey(u64::from_str_radix(mail, 16).ok()?), event, replay))
}

/// A class as keys spell it.
pub(super) const fn letter(class: Class) -> &'static str {
    match class {
        Class::High => "h",
        Class::Normal => "n",
        Class::Low => "l",
    }
}

/// A member of the index of lanes: `<class><endpoint>`.
pub(super) fn lane_member(member: &str) -> Option<(Class, EndpointId)> {
    let class = Class::ALL.into_iter().find(|class| member.starts_with(class.letter()))?;
    Some((class, member.get(1..)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT` answers them.
        let slots: Vec<_> = all().map(Partition::slot).collect();
        assert_eq!(slots, [5_981, 1_916, 14_111, 10_046]);
    }
}
