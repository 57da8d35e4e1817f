//! What the recorder's threads do with orders and partitions, on one thread and by the world's clock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use crate::buffer::BufferError;
use crate::devices;
use crate::event::{DeviceRow, Partition};
use crate::keep::{Keeper, Kept, Order};
use crate::meter::Meter;
use crate::roll::{Policy, RollError, Roller, Scope, Work};
use crate::time::Micros;

/// Carries out an order as thread "keep" does; an error is its end.
pub(super) fn carry_out(
    keeper: &mut Keeper,
    order: &Order,
    meter: &Meter,
    now: impl Fn() -> Micros,
    wait: impl Fn(),
) -> Result<(), BufferError> {
    let kept = match keep_one(keeper, order, meter, now, wait) {
        Ok(kept) => kept,
        Err(error) if error.is_full() && matches!(order, Order::Push(_)) => return Ok(()),
        Err(_) if !matches!(order, Order::Keep(_) | Order::Push(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    meter.buffered.fetch_add(i64::try_from(kept.events).unwrap_or(i64::MAX), Ordering::Relaxed);
    Ok(())
}

fn keep_one(
    keeper: &mut Keeper,
    order: &Order,
    meter: &Meter,
    now: impl Fn() -> Micros,
    wait: impl Fn(),
) -> Result<Kept, BufferError> {
    loop {
        match keeper.step(order, now()) {
            Err(error) if error.is_full() && matches!(order, Order::Keep(_)) => {
                meter.full.store(true, Ordering::Relaxed);
                wait();
            }
            result => return result,
        }
    }
}

/// Publishes the device list when it has changed.
pub(super) fn list_devices(roller: &Roller, last: &mut Vec<DeviceRow>) -> Result<(), RollError> {
    let devices = roller.devices()?;
    if devices != *last {
        devices::publish(roller.layout(), &devices)?;
        *last = devices;
    }
    Ok(())
}

/// Rolls and seals what is due as thread "roll" does, but for files that do not read: here there are none. Where a checksum has
/// to go first, thread "roll" waits for that; here it is the next turn's.
pub(super) fn roll_once(
    roller: &mut Roller,
    orders: &mut Vec<Order>,
    policy: &Policy,
    scope: Scope,
    now: impl Fn() -> Micros,
) -> Result<(), RollError> {
    let mut failure = None;
    let listed = roller.sealed()?;
    for work in roller.due(policy, now(), scope)? {
        let (Work::Roll(partition) | Work::Seal(partition)) = &work;
        if listed.contains_key(partition) {
            orders.push(Order::Unsealed(partition.clone()));
            continue;
        }
        let result = catch_unwind(AssertUnwindSafe(|| match &work {
            Work::Roll(partition) => roll_partition(roller, orders, partition, policy, &now),
            Work::Seal(partition) => roller.seal(partition).map(drop),
        }));
        if let Err(error) = result.unwrap_or_else(|_| Err(RollError::Panicked(partition.clone()))) {
            failure = Some(error);
        }
    }
    orders.extend(roller.take_sums().into_iter().map(|(partition, sum)| Order::Sealed(partition, sum)));
    orders.push(Order::Tidy);
    failure.map_or(Ok(()), Err)
}

fn roll_partition(
    roller: &mut Roller,
    orders: &mut Vec<Order>,
    partition: &Partition,
    policy: &Policy,
    now: impl Fn() -> Micros,
) -> Result<(), RollError> {
    while let Some(rolled) = roller.roll(partition, policy, now())? {
        orders.push(Order::Forget(rolled.partition, rolled.seq));
        if !rolled.more {
            break;
        }
    }
    Ok(())
}
