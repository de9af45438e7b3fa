//! The words of DNS that the ledger is made of: owner names, record types and record data.
//!
//! Everything here is a plain value: no I/O, no clock, no configuration. Each value has one *key form*, bytes whose
//! order is the order in which the ledger keeps and prints things, and one *presentation form*, the text of RFC 1035
//! section 5.1 that people and programs read.

mod domain;
mod name;
mod rdata;
mod rrtype;
mod wire;

pub use domain::{
    SUFFIX_LIST, has_listed_suffix, is_host_suffix, is_registrable_prefix, registrable, registrable_length,
};
pub use name::{
    Name, NameError, name_of_address, other_form, push_key as push_name_key, split_key as split_name_key,
    to_unicode,
};
pub use rdata::{
    Rdata, RdataError, push_address_key, push_name_rdata_key, push_text_key, push_text_presentation,
    split_rdata_key,
};
pub use rrtype::{RrType, RrTypeError};
pub use wire::{name_from_wire, push_wire_rdata, rdata_from_wire};
