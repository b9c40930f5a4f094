//! Section 5: the columns that a plan asked for, as they lie in memory.

use std::slice::from_raw_parts;

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    Insert,
    Update,
    Delete,
    Read,
    /// The old identity of the update behind it.
    OldKey,
}

/// A cell in one of its three states. Absent means that the source did not
/// send it: it is neither a value nor null, and nothing may be computed from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<T> {
    Value(T),
    Null,
    Absent,
}

/// Where a row stands: the LSN of its commit, its place in that transaction, and
/// the time of the commit in microseconds since 1970. What a load has read has
/// those of its snapshot, which is another one where it is read again.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub lsn: u64,
    pub ordinal: u64,
    pub commit_time: i64,
}

/// The rows of a call. It is valid for that call only.
pub struct Batch<'a> {
    ops: &'a [u8],
    places: &'a [Place],
    columns: Vec<View<'a>>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(ops: &'a [u8], places: &'a [Place], columns: Vec<View<'a>>) -> Batch<'a> {
        Batch { ops, places, columns }
    }

    pub fn rows(&self) -> usize {
        self.ops.len()
    }

    pub fn op(&self, row: usize) -> Op {
        match self.ops[row] {
            b'I' => Op::Insert,
            b'U' => Op::Update,
            b'D' => Op::Delete,
            b'R' => Op::Read,
            _ => Op::OldKey,
        }
    }

    /// Where a row stands in the log. The plan has to ask for `Plan::positions`.
    pub fn place(&self, row: usize) -> Place {
        self.places[row]
    }

    /// The column that `Plan::need` returned i for.
    pub fn column(&self, i: usize) -> &View<'a> {
        &self.columns[i]
    }
}

/// A column without a copy.
pub struct View<'a> {
    pub(crate) rows: usize,
    pub(crate) width: i32,
    pub(crate) valid: Option<&'a [u8]>,
    pub(crate) present: Option<&'a [u8]>,
    pub(crate) offsets: &'a [i32],
    pub(crate) data: &'a [u8],
}

fn bit(map: &[u8], i: usize) -> bool {
    map[i >> 3] >> (i & 7) & 1 == 1
}

impl<'a> View<'a> {
    /// Whether every cell is a value: kernels over whole buffers need no other
    /// check.
    pub fn is_dense(&self) -> bool {
        self.valid.is_none() && self.present.is_none()
    }

    fn cell<T>(&self, row: usize, value: impl FnOnce() -> T) -> Cell<T> {
        if self.present.map_or(false, |p| !bit(p, row)) {
            return Cell::Absent;
        }
        if self.valid.map_or(false, |v| !bit(v, row)) {
            return Cell::Null;
        }
        Cell::Value(value())
    }

    /// A cell of a binary column, or the bytes of a text.
    pub fn bytes(&self, row: usize) -> Cell<&'a [u8]> {
        assert!(self.width == -1, "the column is not text or binary");
        self.cell(row, || &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize])
    }

    /// A cell of a text column, which is valid UTF-8.
    pub fn text(&self, row: usize) -> Cell<&'a str> {
        match self.bytes(row) {
            Cell::Value(b) => Cell::Value(unsafe { std::str::from_utf8_unchecked(b) }),
            Cell::Null => Cell::Null,
            Cell::Absent => Cell::Absent,
        }
    }

    pub fn bool(&self, row: usize) -> Cell<bool> {
        assert!(self.width == 0, "the column is not boolean");
        self.cell(row, || bit(self.data, row))
    }

    /// The values of a column of fixed width, those of empty cells included.
    pub fn values<T: Fixed>(&self) -> &'a [T] {
        assert!(self.width as usize == std::mem::size_of::<T>(), "the column has another width");
        unsafe { from_raw_parts(self.data.as_ptr() as *const T, self.rows) }
    }

    /// A cell of a column of fixed width: `i16`, `i32`, `i64`, `f32`, `f64` or
    /// `i128` for decimals.
    pub fn get<T: Fixed>(&self, row: usize) -> Cell<T> {
        self.cell(row, || self.values::<T>()[row])
    }

    /// The offsets and the data of a text column.
    pub fn text_data(&self) -> (&'a [i32], &'a [u8]) {
        (self.offsets, self.data)
    }
}

/// A type that columns of fixed width hold as it is.
pub trait Fixed: Copy {}
impl Fixed for i16 {}
impl Fixed for i32 {}
impl Fixed for u32 {}
impl Fixed for i64 {}
impl Fixed for f32 {}
impl Fixed for f64 {}
impl Fixed for [u8; 16] {}
impl Fixed for [u8; 32] {}

/// Bytes of a value of a format: 0 for booleans, -1 for text and binary.
pub(crate) fn width(format: &str) -> i32 {
    match format {
        "b" => 0,
        "s" => 2,
        "i" | "I" | "f" | "tdD" => 4,
        "l" | "g" | "ttu" | "tsu:" | "tsu:UTC" => 8,
        "u" | "z" => -1,
        "w:16" => 16,
        f if f.starts_with("d:") => {
            if f.ends_with(",256") {
                32
            } else {
                16
            }
        }
        f => panic!("no column can have the format {}", f),
    }
}
