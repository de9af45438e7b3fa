//! Answers compressed by gzip (RFC 1952), for who asks for it by `Accept-Encoding` (RFC 9110, 12.5.3) and for nobody else:
//! clients of passive DNS often decompress nothing.
//!
//! What is written is compressed piece by piece as it comes, so that an answer streams as before and takes no more memory.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderValue, VARY};
use warp::Reply;
use warp::reply::Response;

/// Answers smaller than this are not worth it, bytes.
const SMALLEST: u64 = 1024;

/// Whether a request asks for gzip. What is said of gzip itself counts before what is said of any coding.
pub fn is_asked(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut of_any = false;
    for coding in values.flat_map(|value| value.split(',')) {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let mut weights = parts
            .filter_map(|part| part.split_once('='))
            .filter(|(key, _)| key.trim().eq_ignore_ascii_case("q"));
        let is_wanted = weights.all(|(_, q)| q.trim().parse::<f32>().is_ok_and(|q| q > 0.0));
        if ["gzip", "x-gzip"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
            return is_wanted;
        }
        of_any |= name == "*" && is_wanted;
    }
    of_any
}

/// The same answer, compressed if that is worth it. One with an entity tag stays as it is: the tag is of these very bytes.
pub fn compressed(response: Response) -> Response {
    let exact = response.body().size_hint().exact();
    let headers = response.headers();
    if exact.is_some_and(|size| size < SMALLEST)
        || headers.contains_key(CONTENT_ENCODING)
        || headers.contains_key(ETAG)
    {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let body = warp::reply::stream(pieces(body.into_data_stream())).into_response().into_body();
    Response::from_parts(head, body)
}

/// Compresses each piece, so that it can be read at once; a body that breaks off breaks off compressed too.
fn pieces<E>(
    body: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send
where
    E: std::error::Error + Send + Sync + 'static,
{
    let encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    stream::unfold((Box::pin(body), encoder), |(mut body, encoder)| async move {
        let mut encoder = encoder?;
        match body.next().await {
            Some(Ok(piece)) => match encoder.write_all(&piece).and_then(|()| encoder.flush()) {
                Ok(()) => {
                    let written = std::mem::take(encoder.get_mut());
                    Some((Ok(written.into()), (body, Some(encoder))))
                }
                Err(error) => Some((Err(error), (body, None))),
            },
            Some(Err(error)) => Some((Err(io::Error::other(error)), (body, None))),
            None => Some((encoder.finish().map(Bytes::from), (body, None))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_who_asks_for_it() {
        for (asked, value) in [
            (true, "gzip"),
            (true, "deflate, GZIP;q=0.5"),
            (true, "br, x-gzip"),
            (true, "*"),
            (true, "br;q=1, *;q=0.1"),
            (false, "*, gzip;q=0"),
            (false, "gzip;q=0, *"),
            (false, ""),
            (false, "identity"),
            (false, "gzip;q=0"),
            (false, "gzip; q=0.000"),
            (false, "gzip;q=many"),
            (false, "gzipped"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(is_asked(&headers), asked, "{value}");
        }
        assert!(!is_asked(&HeaderMap::new()));
    }
}
