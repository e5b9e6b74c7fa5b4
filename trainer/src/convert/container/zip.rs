//! The directory of a zip whose members are stored as they are, which is how PyTorch writes checkpoints.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::convert::checkpoint::CheckpointError;

/// The end record without its comment, and the longest comment.
const END_BYTES: u64 = 22;
const LONGEST_COMMENT: u64 = 0xffff;
/// Entries of the directory and headers of members, without names.
const ENTRY_BYTES: usize = 46;
const HEADER_BYTES: usize = 30;

const END_MAGIC: [u8; 4] = *b"PK\x05\x06";
const END64_MAGIC: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64_MAGIC: [u8; 4] = *b"PK\x06\x07";
const LOCATOR64_BYTES: u64 = 20;
const END64_BYTES: usize = 56;
const ENTRY_MAGIC: [u8; 4] = *b"PK\x01\x02";
const HEADER_MAGIC: [u8; 4] = *b"PK\x03\x04";

/// Stands for a number that is given with 64 bits elsewhere.
const ELSEWHERE: u64 = 0xffff_ffff;

/// Where each member's bytes lie in the file, by name.
pub(super) fn members(
    reader: &mut BufReader<&File>,
    length: u64,
) -> Result<HashMap<String, Range<u64>>, CheckpointError> {
    let (count, start) = find_directory(reader, length)?;
    seek(reader, start)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(read_entry(reader)?);
    }
    entries.into_iter().map(|entry| entry.locate(reader, length)).collect()
}

/// Entries of the directory, and where it starts.
fn find_directory(reader: &mut BufReader<&File>, length: u64) -> Result<(u64, u64), CheckpointError> {
    let tail_start = length.saturating_sub(END_BYTES + LONGEST_COMMENT);
    seek(reader, tail_start)?;
    let mut tail = Vec::new();
    reader.read_to_end(&mut tail).map_err(CheckpointError::Read)?;
    let end = tail
        .windows(END_BYTES as usize)
        .rposition(|window| window.starts_with(&END_MAGIC))
        .ok_or_else(|| damaged("it breaks off: the directory at its end is missing"))?;
    let record = &tail[end..];
    let (count, start) = (number(record, 10, 2), number(record, 16, 4));
    if start != ELSEWHERE && count != 0xffff {
        return Ok((count, start));
    }
    let locator = (tail_start + end as u64)
        .checked_sub(LOCATOR64_BYTES)
        .ok_or_else(|| damaged("its directory is not found"))?;
    seek(reader, locator)?;
    let locator: [u8; LOCATOR64_BYTES as usize] = take(reader, LOCATOR64_MAGIC)?;
    seek(reader, number(&locator, 8, 8))?;
    let record: [u8; END64_BYTES] = take(reader, END64_MAGIC)?;
    Ok((number(&record, 32, 8), number(&record, 48, 8)))
}

/// One entry of the directory.
struct Entry {
    name: String,
    bytes: u64,
    header: u64,
}

fn read_entry(reader: &mut BufReader<&File>) -> Result<Entry, CheckpointError> {
    let entry: [u8; ENTRY_BYTES] = take(reader, ENTRY_MAGIC)?;
    let name = take_vec(reader, number(&entry, 28, 2))?;
    let extra = take_vec(reader, number(&entry, 30, 2))?;
    take_vec(reader, number(&entry, 32, 2))?;
    let name = String::from_utf8(name).map_err(|_| damaged("a member's name is not UTF-8"))?;
    let method = number(&entry, 10, 2);
    if method != 0 {
        return Err(damaged(&format!(
            "its member {name:?} is compressed (method {method}), which PyTorch never does; save the checkpoint again"
        )));
    }
    let mut wide = Wide::new(&extra);
    let mut value = |at: usize| match number(&entry, at, 4) {
        ELSEWHERE => wide.next(),
        value => Some(value),
    };
    // In the order of the 64-bit record: length, stored length, place of the header.
    let (bytes, stored, header) = (value(24), value(20), value(42));
    let incomplete = || damaged(&format!("the size of its member {name:?} is missing"));
    let (bytes, stored, header) =
        (bytes.ok_or_else(incomplete)?, stored.ok_or_else(incomplete)?, header.ok_or_else(incomplete)?);
    if bytes != stored {
        return Err(damaged(&format!("its member {name:?} has two sizes, {bytes} and {stored}")));
    }
    Ok(Entry { name, bytes, header })
}

impl Entry {
    /// Where the member's bytes lie: behind its own header.
    fn locate(
        self,
        reader: &mut BufReader<&File>,
        length: u64,
    ) -> Result<(String, Range<u64>), CheckpointError> {
        let Self { name, bytes, header: at } = self;
        seek(reader, at)?;
        let header: [u8; HEADER_BYTES] = take(reader, HEADER_MAGIC)?;
        let start = at + HEADER_BYTES as u64 + number(&header, 26, 2) + number(&header, 28, 2);
        match start.checked_add(bytes).filter(|&end| end <= length) {
            Some(end) => Ok((name, start..end)),
            None => Err(damaged(&format!("its member {name:?} reaches over the end of the file"))),
        }
    }
}

/// The numbers of the 64-bit record among an entry's extra fields, in their order.
struct Wide<'a> {
    values: &'a [u8],
}

impl<'a> Wide<'a> {
    /// Identifier of that record.
    const IDENTIFIER: u64 = 1;

    fn new(mut extra: &'a [u8]) -> Self {
        while let Some((head, rest)) = extra.split_first_chunk::<4>() {
            let size = (number(head, 2, 2) as usize).min(rest.len());
            if number(head, 0, 2) == Self::IDENTIFIER {
                return Self { values: &rest[..size] };
            }
            extra = &rest[size..];
        }
        Self { values: &[] }
    }

    fn next(&mut self) -> Option<u64> {
        let (value, rest) = self.values.split_first_chunk::<8>()?;
        self.values = rest;
        Some(u64::from_le_bytes(*value))
    }
}

/// The little-endian number of `size` bytes at `at`, which must be within `bytes`.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn seek(reader: &mut BufReader<&File>, to: u64) -> Result<(), CheckpointError> {
    reader.seek(SeekFrom::Start(to)).map(drop).map_err(CheckpointError::Read)
}

/// A record that begins with `magic`.
fn take<const N: usize>(reader: &mut BufReader<&File>, magic: [u8; 4]) -> Result<[u8; N], CheckpointError> {
    let mut record = [0; N];
    let read = reader.read_exact(&mut record);
    if read.is_ok() && record.starts_with(&magic) {
        Ok(record)
    } else {
        Err(damaged("its directory points at no record"))
    }
}

/// At most 65,535 bytes: lengths have 16 bits.
fn take_vec(reader: &mut BufReader<&File>, count: u64) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = vec![0; count as usize];
    reader.read_exact(&mut bytes).map_err(|_| damaged("its directory breaks off"))?;
    Ok(bytes)
}

pub(super) fn damaged(reason: &str) -> CheckpointError {
    CheckpointError::DamagedZip { reason: reason.to_owned() }
}
