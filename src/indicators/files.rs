//! Ends of names of files: what has one is no name, where it stands in a text.

/// Ends of names of files, as far as they are met in reports.
pub const FILES: &[&str] = &[
    "aspx", "bat", "bin", "bmp", "cfg", "class", "cmd", "conf", "cpp", "css", "csv", "dat", "dll", "doc",
    "docm", "docx", "dmg", "elf", "eml", "exe", "gif", "gz", "hta", "htm", "html", "ico", "img", "inf",
    "ini", "iso", "jar", "java", "jpeg", "jpg", "js", "json", "jsp", "lnk", "log", "msg", "msi", "ocx",
    "ods", "odt", "one", "pcap", "pdf", "php", "png", "ppt", "pptx", "ps1", "rar", "reg", "rtf", "scr", "so",
    "sql", "svg", "swf", "sys", "tar", "tgz", "tmp", "toml", "tsv", "txt", "vbe", "vbs", "war", "wsf", "xls",
    "xlsm", "xlsx", "xml", "yaml", "yml",
];
/// The same, of those that are suffixes of names as well: a name of two labels with one of them is a file.
pub const FILES_TOO: &[&str] = &["app", "md", "mov", "py", "rs", "sh", "zip"];

/// Whether a last label is an end of names of files, be it of names, too.
pub fn is_file_ending(label: &[u8]) -> bool {
    FILES.iter().chain(FILES_TOO).any(|end| end.as_bytes() == label)
}
