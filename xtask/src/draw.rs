//! Chance, repeatable: SplitMix64, started from a run's seed and an event's number.

use uuid::{Builder, Uuid};

/// The draws of one event, in order.
pub struct Draw(u64);

impl Draw {
    /// The draws of that event of that run.
    pub fn new(seed: u64, number: u32) -> Self {
        let mut spread = Self(u64::from(number));
        Self(seed ^ spread.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `limit` - 1; the bias of the remainder does not matter to samples.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// A uuid of version 4.
    pub fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}
