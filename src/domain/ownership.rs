//! Who serves which lane: endpoints hash to shards, shards to live gateways by rendezvous hashing.
//!
//! Every gateway computes the same answer from the same list, and a gateway that comes or goes moves only its own
//! share. While ownership moves, lease tokens keep every delivery single.

use super::id::{EndpointId, GatewayId, hash64};

/// How many shards there are.
pub const SHARDS: u8 = 64;

/// The shard of an endpoint.
pub fn shard(endpoint: &EndpointId) -> u8 {
    u8::try_from(hash64(&[endpoint.as_str().as_bytes()]) % u64::from(SHARDS)).unwrap_or_default()
}

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shards(u64);

impl Shards {
    /// Every shard.
    pub const ALL: Self = Self(u64::MAX);

    /// Whether this endpoint's shard is in the set.
    pub fn contains(self, endpoint: &EndpointId) -> bool {
        // Hashing is only for who shares with others.
        self == Self::ALL || self.0 & (1 << shard(endpoint)) != 0
    }
}

/// The shards that `me` owns among the `live` gateways. None when it is not among them.
pub fn owned(me: &GatewayId, live: &[GatewayId]) -> Shards {
    let mine = (0..SHARDS).filter(|shard| owner(*shard, live) == Some(me));
    Shards(mine.fold(0, |set, shard| set | 1 << shard))
}

fn owner(shard: u8, live: &[GatewayId]) -> Option<&GatewayId> {
    live.iter().max_by_key(|gateway| (hash64(&[gateway.as_str().as_bytes(), &[shard]]), gateway.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateways(count: u8) -> Vec<GatewayId> {
        (0..count).map(|number| GatewayId::random([number; 16])).collect()
    }

    #[test]
    fn every_shard_has_exactly_one_owner() {
        let live = gateways(4);
        let shares: Vec<_> = live.iter().map(|gateway| owned(gateway, &live).0).collect();
        assert_eq!(shares.iter().fold(0, |all, share| all | share), u64::MAX);
        assert_eq!(shares.iter().map(|share| share.count_ones()).sum::<u32>(), 64);
    }

    #[test]
    fn a_gateway_that_goes_moves_only_its_own_shards() {
        let live = gateways(4);
        let left = &live[..3];
        for gateway in left {
            let before = owned(gateway, &live);
            let after = owned(gateway, left);
            assert_eq!(before.0 & after.0, before.0);
        }
    }

    #[test]
    fn a_gateway_that_is_not_live_owns_nothing() {
        assert_eq!(owned(&GatewayId::random([9; 16]), &gateways(3)), Shards::default());
    }
}
