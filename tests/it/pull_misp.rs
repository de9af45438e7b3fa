//! Feeds of MISP and a MISP, pulled from small servers that behave as the real ones do: only what has changed is got.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::pull::{configure, indicators, ledger, pull};
use crate::served::{Asked, Said, Server};

fn uuid(n: u64) -> String {
    format!("5b9d0000-0000-4000-8000-{n:012}")
}

fn attribute(n: u64, kind: &str, value: &str) -> Value {
    json!({"uuid": uuid(n), "type": kind, "value": value, "to_ids": true, "timestamp": format!("{}", 1_780_000_000 + n),
        "comment": "c", "category": "Network activity", "deleted": false})
}

fn event(n: u64, attributes: &[Value], objects: &[Value]) -> Value {
    json!({"Event": {"uuid": uuid(n), "info": format!("event {n}"), "Orgc": {"name": "CERT", "uuid": uuid(1)}, "published": true,
        "Attribute": attributes, "Object": objects, "Tag": [{"name": "tlp:green"}]}})
}

/// The files of a feed, by path; each has a tag of its content.
type Files = Arc<Mutex<BTreeMap<String, String>>>;

fn feed_server(files: &Files) -> Server {
    let files = Arc::clone(files);
    Server::start(move |asked: &Asked| match files.lock().unwrap().get(asked.path()) {
        None => Said::new(404, "not here"),
        Some(text) => {
            let tag = format!("\"{}-{}\"", text.len(), text.bytes().map(u64::from).sum::<u64>());
            match asked.header("if-none-match") == Some(&tag) {
                true => Said::new(304, ""),
                false => Said::ok(text.clone()).with("ETag", tag),
            }
        }
    })
}

#[test]
fn of_a_feed_of_misp_only_events_that_have_changed_are_got() {
    let files: Files = Arc::default();
    let put = |path: &str, value: &Value| {
        files.lock().unwrap().insert(format!("/feed/{path}"), value.to_string());
    };
    let object = json!({"name": "domain-ip", "Attribute": [attribute(11, "ip-dst", "203.0.113.5"), attribute(12, "hostname", "h.evil.example")]});
    put(&format!("{}.json", uuid(1)), &event(1, &[attribute(10, "domain", "evil.example")], &[object]));
    put(&format!("{}.json", uuid(2)), &event(2, &[attribute(20, "domain", "two.example")], &[]));
    let manifest = |times: &[(u64, Value)]| {
        let listed = times
            .iter()
            .map(|(n, time)| (uuid(*n), json!({"info": "x", "timestamp": time, "Orgc": {"name": "CERT"}})));
        Value::Object(listed.collect())
    };
    put("manifest.json", &manifest(&[(1, json!(100)), (2, json!("100"))]));
    let server = feed_server(&files);
    let url = format!("kind = \"misp-feed\"\nurl = \"{}\"\n", server.url("/feed/"));
    let env = ledger(&["www.evil.example", "three.example"], &url);
    assert!(pull(&env).unwrap().contains("4 indicators, before 0 (misp)"));
    let all = ["address 203.0.113.5", "domain evil.example", "domain two.example", "name h.evil.example"];
    assert_eq!(indicators(&env), all);
    let paths = || -> Vec<String> {
        let short = |asked: &Asked| {
            asked.path().replace("/feed/", "").replace("5b9d0000-0000-4000-8000-00000000000", "")
        };
        server.asked().iter().map(short).collect()
    };
    assert_eq!(paths(), ["manifest.json", "1.json", "2.json"]);
    assert_eq!(pull(&env).unwrap(), "bad: nothing has changed\n");
    assert_eq!(paths(), ["manifest.json"]);
    // One has changed, one is gone, one is new, and one is listed that is not there.
    put(&format!("{}.json", uuid(2)), &event(2, &[attribute(21, "domain", "other.example")], &[]));
    put(&format!("{}.json", uuid(3)), &event(3, &[attribute(30, "domain", "three.example")], &[]));
    put("manifest.json", &manifest(&[(2, json!("200")), (3, json!("100")), (4, json!("1"))]));
    assert!(pull(&env).unwrap().contains("2 indicators, before 4"));
    assert_eq!(paths(), ["manifest.json", "2.json", "3.json", "4.json"]);
    assert_eq!(indicators(&env), ["domain other.example", "domain three.example"]);
    let said = String::from_utf8(env.ok(&["feeds", "--config", "dnsledger.toml"])).unwrap();
    assert!(said.contains("1 of 3 events that are listed are not there"), "{said}");
    // A pull that was killed before all was read is made up for.
    put("manifest.json", &manifest(&[(2, json!("200")), (3, json!("100"))]));
    std::fs::write(env.path("data/watch/bad.pulled/unread"), "").unwrap();
    std::fs::write(env.path("data/watch/bad.pulled/x.part"), "cut").unwrap();
    assert!(pull(&env).unwrap().contains("2 indicators"));
    assert!(!env.path("data/watch/bad.pulled/x.part").exists());
    // What is no manifest and no event changes nothing.
    for (path, value) in [
        ("manifest.json".to_owned(), json!({})),
        ("manifest.json".to_owned(), json!({"../../etc/passwd": {"timestamp": 1}})),
        ("manifest.json".to_owned(), json!([1, 2])),
        (format!("{}.json", uuid(5)), json!({"error": "no"})),
    ] {
        put(&path, &value);
        if path != "manifest.json" {
            put("manifest.json", &manifest(&[(2, json!("200")), (3, json!("100")), (5, json!("1"))]));
        }
        assert!(pull(&env).is_err(), "{path} {value}");
        assert_eq!(indicators(&env), ["domain other.example", "domain three.example"]);
    }
}

/// A MISP: attributes that change, and how many it gives in a page at most.
fn misp_server(attributes: &Arc<Mutex<Vec<Value>>>) -> Server {
    let attributes = Arc::clone(attributes);
    Server::start(move |asked: &Asked| {
        if asked.header("authorization") != Some("s3cret") {
            let says = json!({"name": "Authentication failed.", "message": "Authentication failed. Please make sure you pass the API key.", "url": asked.path()});
            return Said::new(403, says.to_string());
        }
        assert_eq!((asked.method.as_str(), asked.path()), ("POST", "/misp/attributes/restSearch"));
        let search: Value = serde_json::from_str(&asked.body).unwrap();
        let since = search["timestamp"].as_str().map_or(0, |text| text.parse::<u64>().unwrap());
        let with_deleted = search["deleted"] == json!([0, 1]);
        let wanted = |attribute: &&Value| {
            attribute["timestamp"].as_str().unwrap().parse::<u64>().unwrap() >= since
                && (with_deleted || attribute["deleted"] != json!(true))
                && (search["to_ids"] != json!(1) || attribute["to_ids"] == json!(true))
        };
        let all = attributes.lock().unwrap();
        let found: Vec<&Value> = all.iter().filter(wanted).collect();
        let (page, limit) =
            (search["page"].as_u64().unwrap() as usize, search["limit"].as_u64().unwrap() as usize);
        let part: Vec<&&Value> = found.iter().skip((page - 1) * limit).take(limit).collect();
        Said::ok(json!({"response": {"Attribute": part}}).to_string())
            .with("X-Result-Count", found.len().to_string())
    })
}

#[test]
fn a_misp_is_asked_page_by_page_and_then_for_what_has_changed() {
    let many = (0..12_000).map(|n| attribute(n, "domain", &format!("d{n}.example")));
    let attributes = Arc::new(Mutex::new(many.collect::<Vec<_>>()));
    let server = misp_server(&attributes);
    let url = format!(
        "kind = \"misp\"\nurl = \"{}\"\nkey_file = \"key\"\nsearch = '{{\"tags\": [\"tlp:green\"], \"published\": true}}'\n",
        server.url("/misp/")
    );
    let env = ledger(&["d1.example"], &url);
    std::fs::write(env.path("key"), "wrong\n").unwrap();
    let why = pull(&env).unwrap_err();
    assert!(why.contains("answered 403: Authentication failed.") && why.contains("key_file"), "{why}");
    std::fs::write(env.path("key"), "s3cret\n").unwrap();
    server.asked();
    assert!(pull(&env).unwrap().contains("12000 indicators"));
    let asked = server.asked();
    let search: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!(
        (asked.len(), &search["tags"], &search["published"]),
        (2, &json!(["tlp:green"]), &json!(true))
    );
    assert_eq!((&search["returnFormat"], &search["to_ids"]), (&json!("json"), &json!(1)));
    assert!(search["type"].as_array().unwrap().contains(&json!("domain|ip")));
    // Nothing has changed: that is one short question.
    assert_eq!(pull(&env).unwrap(), "bad: nothing has changed\n");
    let asked = server.asked();
    let search: Value = serde_json::from_str(&asked[0].body).unwrap();
    assert_eq!((asked.len(), &search["timestamp"]), (1, &json!("1780011999")));
    // One is deleted, one is no longer for detection, one is another, and one is new.
    {
        let mut all = attributes.lock().unwrap();
        for (n, key, value) in
            [(0, "deleted", json!(true)), (1, "to_ids", json!(false)), (2, "value", json!("changed.example"))]
        {
            all[n][key] = value;
            all[n]["timestamp"] = json!("1780020000");
        }
        all.push(attribute(30_000, "hostname", "new.example"));
    }
    assert!(pull(&env).unwrap().contains("11999 indicators, before 12000"));
    let now = indicators(&env);
    for (indicator, is_there) in [
        ("domain d0.example", false),
        ("domain d1.example", false),
        ("domain d2.example", false),
        ("domain d3.example", true),
        ("domain changed.example", true),
        ("name new.example", true),
    ] {
        assert_eq!(now.iter().any(|known| known == indicator), is_there, "{indicator}");
    }
    // Where it is asked otherwise all is asked for, and what is not there any more goes.
    attributes.lock().unwrap().truncate(11_000);
    server.asked();
    configure(&env, &url.replace("tlp:green", "tlp:clear"));
    assert!(pull(&env).unwrap().contains("10998 indicators"));
    assert!(!server.asked()[0].body.contains("timestamp"));
    // A search that finds nothing takes nothing away.
    attributes.lock().unwrap().clear();
    configure(&env, &url);
    assert!(pull(&env).unwrap_err().contains("no attributes that this key may see"));
    assert_eq!(indicators(&env).len(), 10_998);
}
