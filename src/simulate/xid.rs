//! The ids of events and devices.

use super::event::SECOND;
use std::fmt::{self, Write as _};

/// Twelve bytes as 20 characters of base32hex, as github.com/rs/xid writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Xid([u8; 12]);

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0.iter().fold(0_u128, |all, b| (all << 8) | u128::from(*b)) << 4;
        for i in (0..20).rev() {
            let digit = u32::try_from((bits >> (5 * i)) & 31).unwrap_or(0);
            f.write_char(char::from_digit(digit, 32).unwrap_or('0'))?;
        }
        Ok(())
    }
}

/// Mints ids: the second in front, then who, then a running number.
#[derive(Debug, Clone)]
pub(super) struct Xids {
    who: [u8; 5],
    next: u32,
}

impl Xids {
    pub(super) fn new(who: u64, first: u32) -> Self {
        let mut five = [0; 5];
        five.copy_from_slice(&who.to_be_bytes()[3..]);
        Self { who: five, next: first }
    }

    pub(super) fn next(&mut self, time: i64) -> Xid {
        let second = u32::try_from(time.div_euclid(SECOND)).unwrap_or(0);
        let mut id = [0; 12];
        id[..4].copy_from_slice(&second.to_be_bytes());
        id[4..9].copy_from_slice(&self.who);
        id[9..].copy_from_slice(&self.next.to_be_bytes()[1..]);
        self.next = self.next.wrapping_add(1);
        Xid(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xid_starts_with_its_second_and_has_twenty_characters() {
        // c82gg9catj3vmh4248og is a real id of 2022-02-10T12:42:13Z.
        let id = Xids::new(7, 9).next(1_644_496_933 * SECOND).to_string();
        assert_eq!((id.len(), &id[..6]), (20, "c82gg9"));
        let mut ids = Xids::new(7, 9);
        assert_ne!(ids.next(5), ids.next(5));
    }
}
