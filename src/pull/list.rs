//! A list, got if it has changed (RFC 9110, 13.1).

use super::{Pull, PullError, Pulled};

impl Pull<'_> {
    pub(super) fn list(&mut self) -> Result<Pulled, PullError> {
        let (etag, last_modified) = (self.note.etag.take(), self.note.last_modified.take());
        let mut headers = vec![("accept", "*/*")];
        headers.extend(etag.as_deref().map(|etag| ("if-none-match", etag)));
        headers.extend(last_modified.as_deref().map(|time| ("if-modified-since", time)));
        let (at, reply) = self.remote.get(&self.source.url, &headers)?;
        match reply.status {
            200 => {}
            304 if headers.len() > 1 => {
                (self.note.etag, self.note.last_modified) = (etag, last_modified);
                return Ok(Pulled::Unchanged);
            }
            _ => return Err(self.remote.answered(&at, reply)),
        }
        let header = |name: &str| reply.header(name).filter(|value| value.len() < 1000).map(str::to_owned);
        let (etag, last_modified) = (header("etag"), header("last-modified"));
        let body = self.remote.body(&at, reply)?;
        let pulled = self.import(&mut [Ok(body)].into_iter(), None)?;
        if !pulled.is_held() {
            (self.note.etag, self.note.last_modified) = (etag, last_modified);
        }
        Ok(pulled)
    }
}
