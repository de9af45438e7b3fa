//! JSON written straight into a buffer, for answers of many rows.
//!
//! Only values: whoever writes an object writes its punctuation. Text of the ledger is printable ASCII already, so most
//! of it is copied as it is.

/// Appends a number.
pub fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Appends a truth value.
pub fn push_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends a string of any text.
pub fn push_str(text: &str, out: &mut Vec<u8>) {
    push_string(out, |out| out.extend_from_slice(text.as_bytes()));
}

/// Appends a string whose text, valid UTF-8, the closure appends.
pub fn push_string(out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    let start = out.len();
    push(out);
    let special = |b: &u8| matches!(b, b'"' | b'\\' | 0x00..=0x1f);
    if let Some(first) = out.get(start..).and_then(|text| text.iter().position(special)) {
        let rest = out.split_off(start + first);
        for byte in rest {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0x00..=0x1f => {
                    let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)]);
                }
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_back(text: String, number: u64, value: bool) {
            let mut out = b"[".to_vec();
            push_str(&text, &mut out);
            out.push(b',');
            push_number(number, &mut out);
            out.push(b',');
            push_bool(value, &mut out);
            out.push(b']');
            prop_assert_eq!(serde_json::from_slice::<(String, u64, bool)>(&out).unwrap(), (text, number, value));
        }
    }

    #[test]
    fn control_characters_and_quotes_are_escaped() {
        let mut out = Vec::new();
        push_str("a\"b\\c\u{1}\u{1f}\n\u{7f}ü", &mut out);
        assert_eq!(out, "\"a\\\"b\\\\c\\u0001\\u001f\\n\u{7f}ü\"".as_bytes());
    }
}
