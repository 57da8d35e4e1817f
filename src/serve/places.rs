//! Places: who is connected, and who has to go when there is no room for others.
//!
//! Whoever has brought something that is believed, as a push, is known; all others are strangers, and they go first: those of the
//! peer that has most connections, and of them the one that is there longest, however busy it seems. So neither silence nor a byte
//! now and then keeps an honest sender out. Nobody goes while what they brought is being kept, or while they are told a stream.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::base::time;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    most_of_peer: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: HashMap<u64, Seat>,
    next: u64,
}

#[derive(Debug)]
struct Seat {
    peer: IpAddr,
    /// When it was taken, or brought its last push.
    since: Instant,
    is_known: bool,
    /// A push waits for its commit.
    is_busy: bool,
    /// A stream is being told.
    is_streaming: bool,
    leave: Arc<Notify>,
}

/// A place that is taken; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    leave: Arc<Notify>,
}

impl Places {
    /// So many at once, and of one peer.
    pub(super) fn new(most: usize, most_of_peer: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_peer, seats: Mutex::new(Seats::default()) })
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a peer, whoever has to go for it; none when a push waits on each that could go.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = household(peer);
        let mut seats = self.seats();
        // A proxy or a tunnel on this machine stands for everybody.
        let of_peer = seats.taken.values().filter(|seat| seat.peer == peer && !peer.is_loopback()).count();
        if of_peer >= self.most_of_peer {
            seats.free(|seat| seat.peer == peer)?;
        } else if seats.taken.len() >= self.most {
            seats.free(|_| true)?;
        }
        let (number, leave) = (seats.next, Arc::new(Notify::new()));
        seats.next += 1;
        let (is_known, is_busy, is_streaming) = (false, false, false);
        let seat = Seat { peer, since: time::instant(), is_known, is_busy, is_streaming, leave: Arc::clone(&leave) };
        seats.taken.insert(number, seat);
        Some(Place { places: Arc::clone(self), number, leave })
    }
}

impl Seats {
    /// Sends away whoever of these can be missed best.
    fn free(&mut self, among: impl Fn(&Seat) -> bool) -> Option<()> {
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        self.taken.values().for_each(|seat| *of_peer.entry(seat.peer).or_default() += 1);
        let can_go = self.taken.iter().filter(|(_, seat)| !seat.is_busy && !seat.is_streaming && among(seat));
        let (&number, _) =
            can_go.min_by_key(|(_, seat)| (seat.is_known, Reverse(of_peer.get(&seat.peer).copied()), seat.since))?;
        self.taken.remove(&number)?.leave.notify_one();
        Some(())
    }
}

impl Place {
    /// Resolves when it is needed for somebody else.
    pub(super) async fn is_needed(&self) {
        self.leave.notified().await;
    }

    /// A push that is believed begins to wait for its commit.
    pub(super) fn waits(&self) {
        self.change(|seat| seat.is_busy = true);
    }

    /// Its commit is decided.
    pub(super) fn is_known(&self) {
        self.change(|seat| (seat.is_busy, seat.is_known, seat.since) = (false, true, time::instant()));
    }

    /// A stream begins here, or is over.
    pub(super) fn streams(&self, is_streaming: bool) {
        self.change(|seat| seat.is_streaming = is_streaming);
    }

    /// Whether one is being told.
    pub(super) fn is_streaming(&self) -> bool {
        self.places.seats().taken.get(&self.number).is_some_and(|seat| seat.is_streaming)
    }

    fn change(&self, change: impl FnOnce(&mut Seat)) {
        if let Some(seat) = self.places.seats().taken.get_mut(&self.number) {
            change(seat);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats().taken.remove(&self.number);
    }
}

/// Who has one IPv6 address has a whole network of them.
fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) if !peer.is_loopback() => {
            let [a, b, c, d, ..] = peer.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        peer => peer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(place: &Place) -> bool {
        !place.places.seats().taken.contains_key(&place.number)
    }

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_go_first_of_the_peer_that_has_most_the_oldest_and_nobody_whose_push_waits() {
        let places = Places::new(4, 3);
        let (many, few) = (peer("10.0.0.1"), peer("10.0.0.2"));
        let honest = places.take(few).unwrap();
        honest.waits();
        let [first, second] = [places.take(many).unwrap(), places.take(many).unwrap()];
        let quiet = places.take(few).unwrap();
        honest.is_known();
        // All are taken: of two peers with as many, the oldest stranger.
        let third = places.take(many).unwrap();
        assert_eq!([&honest, &first, &second, &quiet, &third].map(left), [false, true, false, false, false]);
        let fourth = places.take(many).unwrap();
        assert_eq!([&honest, &second, &quiet, &third, &fourth].map(left), [false, true, false, false, false]);
        third.waits();
        fourth.waits();
        quiet.waits();
        // Only the one that is known can go.
        let last = places.take(many).unwrap();
        assert!(left(&honest) && !left(&last));
        last.waits();
        assert!(places.take(many).is_none() && places.take(few).is_none());
        drop(quiet);
        let listener = places.take(few).unwrap();
        listener.streams(true);
        assert!(places.take(few).is_none() && listener.is_streaming() && !left(&listener));
        listener.streams(false);
        assert!(places.take(few).is_some() && left(&listener));
    }

    #[test]
    fn a_peer_has_its_own_limit_and_an_ipv6_network_is_one_peer() {
        let places = Places::new(100, 3);
        let taken: Vec<Place> = (1..=5).map(|n| places.take(peer(&format!("2001:db8::{n}"))).unwrap()).collect();
        assert_eq!(taken.iter().map(left).collect::<Vec<_>>(), [true, true, false, false, false]);
        let here: Vec<Place> = (0..5).map(|_| places.take(peer("::ffff:127.0.0.1")).unwrap()).collect();
        assert!(!here.iter().any(left));
    }
}
