//! The table of cells in shared memory: `S` sets × `W` ways of (fingerprint, payload).
//!
//! One set is one shared value, changed by compare-and-swap, so all workers see one balance.
//! Memory is what configuration says, however many keys appear. A full set makes room by replacing
//! its lowest-ranked cell; `floor` keeps the greatest rank it ever gave up and newcomers start
//! there (after Space-Saving): losing one's cell can make a bucket stricter, never fuller.
//!
//! The table knows nothing of what a payload means but its rank, so rules other than GCRA can
//! bring their own.

use core::marker::PhantomData;

/// What a way holds beside its fingerprint.
pub(super) trait Payload: Copy {
    /// Encoded length in bytes, the same for every value.
    const LEN: usize;
    /// Writes exactly [`Payload::LEN`] bytes.
    fn encode(&self, out: &mut [u8]);
    /// Reads back what [`Payload::encode`] wrote.
    fn decode(bytes: &[u8]) -> Self;
    /// How much is lost by forgetting this: the lowest is replaced first.
    fn rank(&self) -> u64;
    /// The payload of a newcomer that must not be better off than a forgotten one of that rank.
    fn newcomer(rank: u64) -> Self;
}

const WORD: usize = 8;

/// One set: `floor`, then the ways. Worked on as bytes, in place: it is read and written whole
/// with every reserve.
pub(super) struct Set<P> {
    bytes: Vec<u8>,
    payload: PhantomData<P>,
}

/// Where a fingerprint sits, or would sit.
#[derive(Clone, Copy)]
pub(super) struct Seat<P> {
    at: usize,
    /// The cell as it is, or as a newcomer would start.
    pub(super) payload: P,
    /// The fingerprint has a cell of its own.
    pub(super) found: bool,
    /// Sitting down here throws somebody else out.
    pub(super) evicts: bool,
}

impl<P: Payload> Set<P> {
    const WAY: usize = WORD + P::LEN;

    /// A set that knows nobody, encoded.
    pub(super) fn empty(ways: usize) -> Vec<u8> {
        vec![0; WORD + ways * Self::WAY]
    }

    /// Takes a stored value; `None` if it is not a set of that many ways.
    pub(super) fn parse(bytes: Vec<u8>, ways: usize) -> Option<Self> {
        (bytes.len() == WORD + ways * Self::WAY).then_some(Self {
            bytes,
            payload: PhantomData,
        })
    }

    /// The encoded set.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The seat of a fingerprint: its own, else a free one, else that of the lowest rank.
    pub(super) fn seat(&self, fingerprint: u64) -> Seat<P> {
        let mut free = None;
        let mut lowest: Option<(u64, usize)> = None;
        for (at, way) in self.ways() {
            let occupant = word(way);
            let payload = P::decode(&way[WORD..]);
            if occupant == fingerprint {
                return Seat {
                    at,
                    payload,
                    found: true,
                    evicts: false,
                };
            }
            if occupant == 0 {
                free = free.or(Some(at));
            } else if lowest.is_none_or(|(rank, _)| payload.rank() < rank) {
                lowest = Some((payload.rank(), at));
            }
        }
        let floor = word(&self.bytes);
        let (at, start, evicts) = match (free, lowest) {
            (None, Some((rank, at))) => (at, floor.max(rank), true),
            (free, _) => (free.unwrap_or(WORD), floor, false),
        };
        Seat {
            at,
            payload: P::newcomer(start),
            found: false,
            evicts,
        }
    }

    /// Seats the fingerprint with this payload; whoever sat there raises the floor.
    pub(super) fn put(&mut self, fingerprint: u64, seat: &Seat<P>, payload: &P) {
        if seat.evicts {
            let lost = P::decode(&self.bytes[seat.at + WORD..]).rank();
            let floor = word(&self.bytes).max(lost);
            self.bytes[..WORD].copy_from_slice(&floor.to_le_bytes());
        }
        let way = &mut self.bytes[seat.at..seat.at + Self::WAY];
        way[..WORD].copy_from_slice(&fingerprint.to_le_bytes());
        payload.encode(&mut way[WORD..]);
    }

    fn ways(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.bytes[WORD..]
            .chunks_exact(Self::WAY)
            .enumerate()
            .map(|(index, way)| (WORD + index * Self::WAY, way))
    }
}

/// The first eight bytes, little-endian; zero if there are fewer.
pub(super) fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}
