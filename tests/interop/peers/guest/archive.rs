//! A file added to an initramfs: the kernel unpacks one cpio archive after another.

/// Appends an archive in the "newc" format that holds one file, readable by all.
pub fn append(image: &mut Vec<u8>, path: &str, content: &[u8]) {
    image.resize(image.len().next_multiple_of(512), 0);
    entry(image, path, 0o100_644, content);
    entry(image, "TRAILER!!!", 0, &[]);
    image.resize(image.len().next_multiple_of(512), 0);
}

fn entry(image: &mut Vec<u8>, path: &str, mode: usize, content: &[u8]) {
    const LINKS: usize = 1;
    let fields = [
        1, // inode; one file an archive, so it need not differ
        mode,
        0, // owner
        0, // group
        LINKS,
        0, // time of change
        content.len(),
        0, // device of the archive, major and minor
        0,
        0, // device that the entry is, major and minor
        0,
        path.len() + 1,
        0, // checksum, unused in this format
    ];
    image.extend_from_slice(b"070701");
    for field in fields {
        image.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    image.extend_from_slice(path.as_bytes());
    image.push(0);
    image.resize(image.len().next_multiple_of(4), 0);
    image.extend_from_slice(content);
    image.resize(image.len().next_multiple_of(4), 0);
}
