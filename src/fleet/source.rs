//! Where changes come from: the daemon that has the ledger, by its control socket, or the ledger itself.

use std::io::{BufReader, Read};
use std::sync::Arc;

use super::FleetError;
use crate::http::client::Client;
use crate::http::{ChangesFrame, ChangesHead, Forwarding};
use crate::store::{Change, Mark, ReadStore};

/// A ledger that is shipped from.
pub enum ChangeSource {
    /// Through its daemon.
    Daemon(Client),
    /// It is this process's own.
    Ledger(Arc<dyn ReadStore>),
}

/// What takes changes; an error ends it.
pub type OnChange<'a> = &'a mut dyn FnMut(ChangesHead, Change) -> Result<(), FleetError>;

impl ChangeSource {
    /// Which ledger it is, and how far.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn head(&self) -> Result<ChangesHead, FleetError> {
        match self {
            ChangeSource::Ledger(ledger) => Ok(ChangesHead::of(&ledger.now().changed_since(Mark(u64::MAX))?)),
            ChangeSource::Daemon(client) => {
                let mut answer = client.at_length().post("/control/changes", &[("head", "true")], None)?;
                read_head(&mut answer)
            }
        }
    }

    /// Hands out what has changed since a mark, and hits that have since another one, if they are wanted. Gives which ledger it is, and
    /// how far.
    ///
    /// # Errors
    ///
    /// When not all of it could be read, or what `take` says.
    pub fn changes(
        &self,
        since: Mark,
        hits_since: Option<Mark>,
        take: OnChange<'_>,
    ) -> Result<ChangesHead, FleetError> {
        match self {
            ChangeSource::Ledger(ledger) => {
                let now = ledger.now();
                let changed = now.changed_since(since)?;
                let head = ChangesHead::of(&changed);
                for change in changed.all_with(&*now, since, hits_since)? {
                    take(head, change?)?;
                }
                Ok(head)
            }
            ChangeSource::Daemon(client) => {
                let (since, hits) = (since.0.to_string(), hits_since.map(|mark| mark.0.to_string()));
                let mut params = vec![("since", since.as_str())];
                params.extend(hits.as_deref().map(|hits| ("hits", hits)));
                // However much it is: it is taken as fast as servers of the cluster take it.
                let answer = client.at_length().without_end().post("/control/changes", &params, None)?;
                let mut answer = BufReader::new(answer);
                let head = read_head(&mut answer)?;
                loop {
                    match read(&mut answer)? {
                        ChangesFrame::Changes(bytes) => {
                            let mut left = bytes.as_slice();
                            while let Some(change) = Change::take(&mut left)? {
                                take(head, change)?;
                            }
                        }
                        ChangesFrame::End => return Ok(head),
                        ChangesFrame::Failed(why) => return Err(FleetError::Daemon(why)),
                        ChangesFrame::Head(_) => {
                            return Err(FleetError::Daemon("it begins twice".to_owned()));
                        }
                    }
                }
            }
        }
    }

    /// Tells the daemon how forwarding goes, for its status and metrics.
    ///
    /// # Errors
    ///
    /// When it does not take it.
    pub fn tell(&self, told: &Forwarding) -> Result<(), FleetError> {
        let ChangeSource::Daemon(client) = self else { return Ok(()) };
        let report = serde_json::to_string(told).map_err(|error| FleetError::Daemon(error.to_string()))?;
        client.post("/control/forwarding", &[("report", &report)], None)?;
        Ok(())
    }
}

fn read(answer: &mut impl Read) -> Result<ChangesFrame, FleetError> {
    ChangesFrame::read(answer).map_err(|error| FleetError::Daemon(format!("it ended early: {error}")))
}

fn read_head(answer: &mut impl Read) -> Result<ChangesHead, FleetError> {
    match read(answer)? {
        ChangesFrame::Head(head) => Ok(head),
        ChangesFrame::Failed(why) => Err(FleetError::Daemon(why)),
        _ => Err(FleetError::Daemon("it does not say which ledger it is".to_owned())),
    }
}
