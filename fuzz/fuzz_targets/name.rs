//! Names: from a log or from text, to keys and to text and back.
#![no_main]

use dnsledger::dns::Name;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(name) = Name::from_log(data) {
        check(&name);
    }
    if let Ok(name) = Name::from_key(data) {
        assert_eq!(name.key(), data);
    }
    if let Ok(name) = std::str::from_utf8(data).map_err(drop).and_then(|text| Name::parse(text).map_err(drop))
    {
        check(&name);
    }
});

fn check(name: &Name) {
    let text = name.to_string();
    assert!(text.bytes().all(|byte| matches!(byte, 0x21..=0x7e)), "{text}");
    assert_eq!(Name::parse(&text).as_ref(), Ok(name));
    assert_eq!(Name::from_key(name.key()).as_ref(), Ok(name));
    let labels = name.labels();
    assert_eq!(Name::from_labels(labels.iter().map(Vec::as_slice)).as_ref(), Ok(name));
    assert_eq!(name.parent().is_none(), name.is_root());
}
