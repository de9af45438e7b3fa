//! Numbers of sensors, given durably.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::engine::{self, Engine, with_prefix};
use super::{StoreError, block, damaged};
use crate::observation::SensorId;

pub(crate) struct Sensors {
    engine: Arc<dyn Engine>,
    known: RwLock<Known>,
}

/// The names in the order of their numbers, and the way back.
#[derive(Default)]
struct Known {
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, SensorId>,
}

impl Known {
    fn add(&mut self, number: SensorId, name: &str) {
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
    }
}

impl Sensors {
    pub fn load(engine: Arc<dyn Engine>) -> Result<Sensors, StoreError> {
        let mut known = Known::default();
        for (pair, number) in with_prefix(&*engine, engine::SENSORS).zip(0..=u16::MAX) {
            let (key, sealed) = pair?;
            if key != engine::sensor(number) {
                return Err(damaged("the list of sensors", &format!("number {number} is missing")));
            }
            let what = || format!("the name of sensor {number}");
            let name = block::open(&key, &sealed, &what)?;
            let name = std::str::from_utf8(&name).map_err(|_| damaged(&what(), "it is not UTF-8"))?;
            known.add(SensorId(number), name);
        }
        Ok(Sensors { engine, known: RwLock::new(known) })
    }

    pub fn len(&self) -> usize {
        self.known.read().unwrap_or_else(PoisonError::into_inner).names.len()
    }

    pub fn name(&self, number: SensorId) -> Option<Arc<str>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.names.get(usize::from(number.0)).cloned()
    }

    /// The number of a name, given to it now if it has none.
    pub fn number(&self, name: &str) -> Result<SensorId, StoreError> {
        let number_of = |known: &Known| known.numbers.get(name).copied();
        if let Some(number) = number_of(&self.known.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(number);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = number_of(&known) {
            return Ok(number);
        }
        let number = u16::try_from(known.names.len()).map_err(|_| StoreError::TooManySensors)?;
        let key = engine::sensor(number);
        let sealed = block::seal(&key, name.as_bytes());
        self.engine.write(vec![(key, Some(sealed))])?;
        self.engine.sync()?;
        known.add(SensorId(number), name);
        Ok(SensorId(number))
    }
}
