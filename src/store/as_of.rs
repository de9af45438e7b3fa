//! What a store that other ledgers feed knows of them: as of when it has what each sensor has seen, and what it lacks.

use std::sync::Arc;

use super::Snapshot;

/// As of when all that a sensor has seen is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorAsOf {
    /// The sensor.
    pub sensor: Arc<str>,
    /// Epoch seconds; 0 where it never was.
    pub as_of: u64,
    /// Whether nothing more is expected of it: then it does not count for the answer as a whole.
    pub is_closed: bool,
}

/// What is known of those who feed a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fed {
    /// Each sensor, by name.
    pub sensors: Vec<SensorAsOf>,
    /// Why answers may lack something, in a sentence each.
    pub lacks: Vec<String>,
}

impl Fed {
    /// As of when all is there that is expected of any sensor; `None` where there is no sensor, or nothing of one.
    pub fn as_of(&self) -> Option<u64> {
        let expected = self.sensors.iter().filter(|sensor| !sensor.is_closed);
        expected.map(|sensor| sensor.as_of).min().filter(|as_of| *as_of > 0)
    }
}

/// What can be had just now of a store of which parts may be away.
pub struct PartialStore {
    /// The snapshot that is asked.
    pub snapshot: Arc<dyn Snapshot>,
    /// What is missing, in a sentence each; empty where nothing is.
    pub missing: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_of_the_sensor_that_is_furthest_behind() {
        let sensor = |as_of, is_closed| SensorAsOf { sensor: "a".into(), as_of, is_closed };
        let as_of = |sensors| Fed { sensors, lacks: Vec::new() }.as_of();
        assert_eq!(as_of(vec![sensor(7, false), sensor(5, false), sensor(2, true)]), Some(5));
        assert_eq!(as_of(vec![sensor(7, false), sensor(0, false)]), None);
        assert_eq!(as_of(vec![]), None);
    }
}
