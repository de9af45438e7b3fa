//! TAXII 2.1, pulled from a small server that behaves as the real one does, and from medallion, where that is.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::env::{free_port, skipped, until};
use crate::pull::{configure, indicators, ledger, pull};
use crate::served::{Asked, Said, Server};

const TAXII: &str = "application/taxii+json;version=2.1";

fn indicator(n: u64, modified: &str, pattern: &str) -> Value {
    json!({"type": "indicator", "spec_version": "2.1", "id": format!("indicator--5b9d0000-0000-4000-8000-{n:012}"), "created": "2026-01-01T00:00:00.000Z",
        "modified": modified, "pattern": pattern, "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z", "name": format!("i{n}")})
}

fn domain(n: u64, modified: &str, name: &str) -> Value {
    indicator(n, modified, &format!("[domain-name:value = '{name}']"))
}

/// What a collection has: when each object was added, and the object. How many a page has, and from which page on a place is dead.
#[derive(Default)]
struct Shelf {
    objects: Vec<(String, Value)>,
    page: usize,
    dead_from: usize,
    without_next: bool,
}

fn taxii_server(shelf: &Arc<Mutex<Shelf>>) -> Server {
    let shelf = Arc::clone(shelf);
    Server::start(move |asked: &Asked| {
        let error = |status: u16, title: &str| Said::new(status, json!({"title": title}).to_string());
        if asked.header("authorization") != Some("Basic dXNlcjE6UGFzc3dvcmQx") {
            return error(401, "Unauthorized");
        }
        if asked.header("accept") != Some(TAXII) {
            return error(406, "Media type in the Accept header is invalid or not found");
        }
        let said = |document: Value| Said::ok(document.to_string()).with("Content-Type", TAXII);
        let collections = json!({"collections": [
            {"id": "91a7b528", "title": "High value", "can_read": true, "can_write": false, "media_types": ["application/stix+json;version=2.1"]},
            {"id": "aaaa", "title": "Others", "can_read": false, "can_write": true}]});
        match asked.path() {
            "/taxii2/" => said(
                json!({"title": "A server", "default": "/api1/", "api_roots": ["/api1/", "https://elsewhere.example/api/"]}),
            ),
            "/api1/" => said(json!({"title": "Root", "versions": [TAXII], "max_content_length": 1000})),
            "/api1/collections/" => said(collections),
            "/api1/collections/91a7b528/objects/" => {
                assert_eq!(asked.param("match[type]").as_deref(), Some("indicator"));
                let shelf = shelf.lock().unwrap();
                let after = asked.param("added_after").unwrap_or_default();
                let found: Vec<&(String, Value)> =
                    shelf.objects.iter().filter(|(added, _)| *added > after).collect();
                let from: usize = asked.param("next").map_or(0, |next| next.parse().unwrap());
                if from > 0 && from / shelf.page >= shelf.dead_from && shelf.dead_from > 0 {
                    return error(400, "The value of next is not known");
                }
                let part: Vec<_> = found.iter().skip(from).take(shelf.page).collect();
                let mut envelope = json!({});
                if let Some((added, _)) = part.last() {
                    envelope["objects"] = part.iter().map(|(_, object)| object.clone()).collect();
                    let more = from + part.len() < found.len();
                    envelope["more"] = json!(more);
                    if more && !shelf.without_next {
                        envelope["next"] = json!((from + part.len()).to_string());
                    }
                    let first = part.first().map(|(added, _)| added.clone()).unwrap_or_default();
                    return said(envelope)
                        .with("X-TAXII-Date-Added-First", first)
                        .with("X-TAXII-Date-Added-Last", added.clone());
                }
                said(envelope)
            }
            _ => error(404, "Not found"),
        }
    })
}

#[test]
fn a_collection_is_pulled_page_by_page_and_then_what_was_added_since() {
    let added = |n: u64| format!("2026-02-01T00:00:{n:02}.000000Z");
    let first = "2026-01-01T00:00:00.000Z";
    let objects = (0..13).map(|n| (added(n), domain(n, first, &format!("d{n}.example")))).collect();
    let shelf = Arc::new(Mutex::new(Shelf { objects, page: 5, ..Shelf::default() }));
    let server = taxii_server(&shelf);
    let keys = "kind = \"taxii\"\nuser = \"user1\"\nkey_file = \"key\"\n";
    let env = ledger(&["d1.example"], &format!("{keys}url = \"{}\"\n", server.url("/taxii2/")));
    std::fs::write(env.path("key"), "wrong\n").unwrap();
    assert!(pull(&env).unwrap_err().contains("answered 401: Unauthorized"));
    std::fs::write(env.path("key"), "Password1\n").unwrap();
    assert!(pull(&env).unwrap().contains("13 indicators, before 0 (stix)"));
    let paths: Vec<String> = server.asked().iter().skip(1).map(|asked| asked.path().to_owned()).collect();
    let objects = "/api1/collections/91a7b528/objects/";
    assert_eq!(paths, ["/taxii2/", "/api1/collections/", objects, objects, objects]);
    assert_eq!(pull(&env).unwrap(), "bad: nothing has changed\n");
    let last = server.asked().pop().unwrap();
    assert_eq!(last.param("added_after").as_deref(), Some("2026-02-01T00:00:12.000000Z"));
    // One is new, one has another version, and one is revoked.
    {
        let mut shelf = shelf.lock().unwrap();
        let later = "2026-02-02T00:00:00.000Z";
        shelf.objects.push((added(20), domain(99, later, "new.example")));
        shelf.objects.push((added(21), domain(1, later, "other.example")));
        let mut revoked = domain(2, later, "d2.example");
        revoked["revoked"] = json!(true);
        shelf.objects.push((added(22), revoked));
    }
    assert!(pull(&env).unwrap().contains("13 indicators, before 13"));
    let now = indicators(&env);
    let has = |name: &str| now.contains(&format!("name {name}"));
    assert!(has("new.example") && has("other.example") && has("d3.example"), "{now:?}");
    assert!(!has("d1.example") && !has("d2.example"), "{now:?}");
    // Any place of the server will do; and a place in a list that is dead has it asked from the start, once.
    for place in
        ["/api1/", "/api1/collections/", "/api1/collections/91a7b528", "/api1/collections/91a7b528/objects/"]
    {
        configure(&env, &format!("{keys}url = \"{}\"\n", server.url(place)));
        assert!(pull(&env).unwrap().contains("13 indicators"), "{place}");
    }
    shelf.lock().unwrap().dead_from = 2;
    configure(&env, &format!("{keys}collection = \"High value\"\nurl = \"{}\"\n", server.url("/taxii2/")));
    server.asked();
    assert!(pull(&env).unwrap_err().contains("The value of next is not known"));
    assert_eq!(server.asked().iter().filter(|asked| asked.path() == objects).count(), 6);
    assert_eq!(indicators(&env).len(), 13);
    configure(&env, &format!("{keys}collection = \"none\"\nurl = \"{}\"\n", server.url("/taxii2/")));
    let why = pull(&env).unwrap_err();
    assert!(why.contains("unknown collection \"none\"") && why.contains("another host"), "{why}");
}

/// Such a server is asked for what was added after the last of a page, and what was added at that very time would never come.
#[test]
fn a_page_of_one_time_without_a_next_place_is_no_end() {
    let objects = |times: [u64; 7]| {
        let one = |n: usize, second: u64| {
            let added = format!("2026-02-01T00:00:{second:02}.000000Z");
            (added, domain(n as u64, "2026-01-01T00:00:00.000Z", &format!("d{n}.example")))
        };
        times.into_iter().enumerate().map(|(n, second)| one(n, second)).collect()
    };
    let different =
        Shelf { objects: objects([1, 2, 3, 4, 5, 6, 7]), page: 3, without_next: true, ..Shelf::default() };
    let shelf = Arc::new(Mutex::new(different));
    let server = taxii_server(&shelf);
    let keys = "kind = \"taxii\"\nuser = \"user1\"\nkey_file = \"key\"\n";
    let env = ledger(&["d1.example"], &format!("{keys}url = \"{}\"\n", server.url("/taxii2/")));
    std::fs::write(env.path("key"), "Password1\n").unwrap();
    assert!(pull(&env).unwrap().contains("7 indicators, before 0 (stix)"));
    shelf.lock().unwrap().objects = objects([8, 8, 8, 8, 8, 8, 8]);
    let why = pull(&env).unwrap_err();
    assert!(why.contains("there is more, and not where"), "{why}");
}

#[test]
fn a_collection_of_medallion_is_pulled() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let medallion = root.join("target/clients/bin/medallion");
    if !medallion.exists() && std::env::var_os("CI").is_none() {
        return skipped("medallion is missing: run tests/clients/setup.sh");
    }
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let keys = format!("kind = \"taxii\"\nuser = \"user1\"\nkey_file = \"key\"\nurl = \"{url}/taxii2/\"\n");
    let env = ledger(&["d1.example"], &keys);
    std::fs::write(env.path("key"), "Password1\n").unwrap();
    let first = "2026-01-01T00:00:00.000Z";
    let objects: Vec<Value> = (0..13).map(|n| domain(n, first, &format!("d{n}.example"))).collect();
    let listed = |(n, object): (usize, &Value)| {
        json!({"id": object["id"], "date_added": format!("2026-02-01T00:00:{n:02}.000Z"), "version": first,
            "media_type": "application/stix+json;version=2.1"})
    };
    let manifest: Vec<Value> = objects.iter().enumerate().map(listed).collect();
    let data = json!({
        "/discovery": {"title": "t", "default": format!("{url}/trustgroup1/"), "api_roots": [format!("{url}/trustgroup1/")]},
        "trustgroup1": {
            "information": {"title": "r", "versions": [TAXII], "max_content_length": 9_765_625},
            "status": [],
            "collections": [{"id": "91a7b528-80eb-42ed-a74d-c6fbd5a26116", "title": "c", "can_read": true, "can_write": true,
                "media_types": ["application/stix+json;version=2.1"], "objects": objects, "manifest": manifest}]
        }
    });
    let config = json!({
        "backend": {"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend", "filename": env.path("data.json")},
        "users": {"user1": "Password1"},
        "taxii": {"max_page_size": 5}
    });
    std::fs::write(env.path("data.json"), data.to_string()).unwrap();
    std::fs::write(env.path("config.json"), config.to_string()).unwrap();
    let mut command = env.tool(medallion.to_str().unwrap());
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "config.json"]);
    let server = env.background(&mut command);
    until("medallion to answer", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    assert!(pull(&env).unwrap().contains("13 indicators, before 0 (stix)"));
    assert_eq!(pull(&env).unwrap(), "bad: nothing has changed\n");
    assert_eq!(indicators(&env).len(), 13);
    server.kill();
}
