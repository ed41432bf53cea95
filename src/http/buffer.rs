//! Where the pieces of a body come together.

use bytes::Bytes;
use memmap2::MmapMut;

use super::problem::Problem;

/// What is larger has memory of its own from the system: it is given back at once, where an allocator would keep it a while
/// for the next who asks, and what nothing was written to is no memory yet.
const SHARED_LEN_MAX: usize = 1 << 20;

/// The bytes so far. A body that comes in one piece, or is small, is copied once at most; a large one too.
pub(super) struct Buffer {
    /// At most so many are pushed.
    bytes_max: usize,
    /// So many are to come, if somebody told.
    told: Option<usize>,
    all: All,
}

enum All {
    One(Bytes),
    Small(Vec<u8>),
    Large(Filled),
}

/// Memory, and how much of it is written to.
struct Filled {
    memory: MmapMut,
    len: usize,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Buffer {
    pub(super) fn new(bytes_max: usize, told: Option<usize>) -> Self {
        Self { bytes_max, told, all: All::One(Bytes::new()) }
    }

    pub(super) fn len(&self) -> usize {
        match &self.all {
            All::One(one) => one.len(),
            All::Small(small) => small.len(),
            All::Large(large) => large.len,
        }
    }

    /// Adds a piece; all that was pushed is within the length told, and the most there may be.
    ///
    /// # Errors
    /// [`Problem::BodiesOverBudget`] when there is no memory.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Problem> {
        let len = self.len() + piece.len();
        if let All::Large(Filled { memory, len }) = &mut self.all {
            let room = memory.get_mut(*len..*len + piece.len()).ok_or(Problem::BodyTooLarge(self.bytes_max))?;
            room.copy_from_slice(&piece);
            *len += piece.len();
            return Ok(());
        }
        if self.len() == 0 {
            self.all = All::One(piece);
            return Ok(());
        }
        let is_large = len.max(self.told.unwrap_or_default()) > SHARED_LEN_MAX;
        let before = std::mem::replace(&mut self.all, All::One(Bytes::new())).freeze();
        self.all = if is_large {
            let memory = MmapMut::map_anon(self.told.unwrap_or(self.bytes_max).max(len));
            let mut memory = memory.map_err(|_| Problem::BodiesOverBudget)?;
            // Each page is one of few bytes, not of two million, or a body that has just begun would have those.
            #[cfg(target_os = "linux")]
            let _ = memory.advise(memmap2::Advice::NoHugePage);
            memory[..before.len()].copy_from_slice(&before);
            memory[before.len()..len].copy_from_slice(&piece);
            All::Large(Filled { memory, len })
        } else {
            let mut small = Vec::from(before);
            small.reserve(self.told.unwrap_or_default().max(len) - small.len());
            small.extend_from_slice(&piece);
            All::Small(small)
        };
        Ok(())
    }

    /// All of it, not copied.
    pub(super) fn freeze(self) -> Bytes {
        self.all.freeze()
    }
}

impl All {
    fn freeze(self) -> Bytes {
        match self {
            Self::One(one) => one,
            Self::Small(small) => small.into(),
            Self::Large(large) => Bytes::from_owner(large),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_come_together() {
        const MIB: usize = 1 << 20;
        for (told, pieces) in [
            (None, vec![]),
            (Some(3), vec![3]),
            (Some(9), vec![0, 3, 0, 5, 1]),
            (None, vec![0, 3, 0, 5, 1]),
            (None, vec![MIB, 0, 1, MIB, 7]),
            (None, vec![7; 3 * MIB / 7]),
            (Some(3 * MIB), vec![10, MIB, 2 * MIB - 10]),
            (Some(3 * MIB), vec![3 * MIB]),
        ] {
            let (mut buffer, mut expected) = (Buffer::new(4 * MIB, told), Vec::new());
            for (number, len) in pieces.iter().enumerate() {
                let piece = vec![(number % 251) as u8; *len];
                expected.extend_from_slice(&piece);
                buffer.push(piece.into()).unwrap();
                assert_eq!(buffer.len(), expected.len());
            }
            assert!(buffer.freeze() == expected, "{told:?}, {} pieces", pieces.len());
        }
    }

    #[test]
    fn a_large_one_has_the_room_that_was_told_and_never_more_than_there_may_be() {
        let room = |told, len| {
            let mut buffer = Buffer::new(5 << 20, told);
            buffer.push(Bytes::from_static(b"x")).unwrap();
            buffer.push(vec![b'y'; len].into()).unwrap();
            match buffer.all {
                All::Large(filled) => filled.memory.len(),
                All::Small(small) => small.capacity(),
                All::One(_) => 0,
            }
        };
        assert_eq!([room(Some(3 << 20), 1), room(None, 1 << 20), room(Some(100), 1)], [3 << 20, 5 << 20, 100]);
    }
}
