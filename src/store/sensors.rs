//! Numbers of sensors, given durably.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::engine::{self, Pairs, with_prefix};
use super::{StoreError, block, damaged};
use crate::observation::{SensorId, check_sensor_name};

/// Refuses a new name that is none. One that a ledger has already stays what it is.
pub(super) fn check(name: &str) -> Result<(), StoreError> {
    check_sensor_name(name)
        .map_err(|why| StoreError::BadSensor { name: name.chars().take(64).collect(), why })
}

pub(crate) struct Sensors {
    known: RwLock<SensorNames>,
}

/// The names in the order of their numbers, and the way back.
#[derive(Default)]
struct SensorNames {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, SensorId>,
}

impl SensorNames {
    fn add(&mut self, number: SensorId, name: &str) {
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
    }
}

impl Sensors {
    pub fn load(engine: &dyn Pairs) -> Result<Sensors, StoreError> {
        let mut known = SensorNames::default();
        for (pair, number) in with_prefix(engine, engine::SENSORS).zip(0..=u16::MAX) {
            let (key, sealed) = pair?;
            if key != engine::sensor(number) {
                return Err(damaged("the list of sensors", &format!("number {number} is missing")));
            }
            let what = || format!("the name of sensor {number}");
            let name = block::open(&key, &sealed, &what)?;
            let name = std::str::from_utf8(&name).map_err(|_| damaged(&what(), "it is not UTF-8"))?;
            known.add(SensorId(number), name);
        }
        Ok(Sensors { known: RwLock::new(known) })
    }

    pub fn len(&self) -> usize {
        self.known.read().names.len()
    }

    pub fn name(&self, number: SensorId) -> Option<Arc<str>> {
        let known = self.known.read();
        known.names.get(usize::from(number.0)).cloned()
    }

    /// The number of a name, if it has one.
    pub fn number(&self, name: &str) -> Option<SensorId> {
        self.known.read().numbers.get(name).copied()
    }

    /// Gives a number to a name that has none, once `keep` has stored the pair. One caller at a time.
    pub fn add(
        &self,
        name: &str,
        keep: impl FnOnce(Vec<u8>, Vec<u8>) -> Result<(), StoreError>,
    ) -> Result<SensorId, StoreError> {
        check(name)?;
        let number = u16::try_from(self.len()).map_err(|_| StoreError::TooManySensors)?;
        let key = engine::sensor(number);
        let sealed = block::seal(&key, name.as_bytes());
        keep(key, sealed)?;
        self.known.write().add(SensorId(number), name);
        Ok(SensorId(number))
    }
}
