//! Section 3: columns as they cross.

use crate::batch::{width, Batch, View};
use crate::output::Output;
use crate::plan::Plan;
use std::slice::from_raw_parts;

#[repr(C)]
pub(crate) struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: u32,
    children: u32,
    dictionary: u32,
    release: u32,
    private_data: u32,
    pad: u32,
}

const _: () = assert!(std::mem::size_of::<ArrowArray>() == 64);

impl ArrowArray {
    fn new(rows: usize, buffers: &[u32], children: &[u32]) -> ArrowArray {
        ArrowArray {
            length: rows as i64,
            null_count: -1,
            offset: 0,
            n_buffers: buffers.len() as i64,
            n_children: children.len() as i64,
            buffers: address(buffers),
            children: if children.is_empty() { 0 } else { address(children) },
            dictionary: 0,
            release: 0,
            private_data: 0,
            pad: 0,
        }
    }
}

pub(crate) fn address<T>(v: &[T]) -> u32 {
    v.as_ptr() as usize as u32
}

unsafe fn slice<'a, T>(at: u32, n: usize) -> &'a [T] {
    if n == 0 {
        return &[];
    }
    from_raw_parts(at as usize as *const T, n)
}

/// Reads the argument of leat_process.
pub(crate) unsafe fn read<'a>(at: u32, p: &Plan) -> Batch<'a> {
    let head: &[u32] = slice(at, 7);
    let rows = head[1] as usize;
    let root = &slice::<ArrowArray>(head[2], 1)[0];
    let (children, presence): (&[u32], &[u32]) = (slice(root.children, p.needs.len()), slice(head[4], p.needs.len()));
    let columns = p.needs.iter().enumerate().map(|(i, &need)| view(children[i], presence[i], rows, &p.table.columns[need].format));
    Batch::new(slice(head[5], rows), slice(head[6], if head[6] == 0 { 0 } else { rows }), columns.collect())
}

/// Reads a column that the host has written.
pub(crate) unsafe fn view<'a>(array: u32, presence: u32, rows: usize, format: &str) -> View<'a> {
    let map = |at: u32| if at == 0 { None } else { Some(slice::<u8>(at, (rows + 7) / 8)) };
    let a = &slice::<ArrowArray>(array, 1)[0];
    let buffers: &[u32] = slice(a.buffers, a.n_buffers as usize);
    let width = width(format);
    let offsets: &[i32] = if width == -1 { slice(buffers[1], rows + 1) } else { &[] };
    let data = match width {
        -1 => slice(buffers[2], offsets[rows] as usize),
        0 => slice(buffers[1], (rows + 7) / 8),
        w => slice(buffers[1], rows * w as usize),
    };
    View { rows, width, valid: map(buffers[0]), present: map(presence), offsets, data }
}

/// A column for the host to read: its array, the addresses of its buffers, which
/// have to live as long, and its presence.
pub(crate) fn array_of(v: &View) -> (Box<ArrowArray>, Box<[u32]>, u32) {
    let map = |m: Option<&[u8]>| m.map_or(0, address);
    let mut buffers = vec![map(v.valid)];
    if v.width == -1 {
        buffers.push(address(v.offsets));
    }
    buffers.push(address(v.data)); // of an empty one: not 0, and not read
    let buffers = buffers.into_boxed_slice();
    (Box::new(ArrowArray::new(v.rows, &buffers, &[])), buffers, map(v.present))
}

/// Everything that a result points to; it lives until the next call.
pub(crate) struct Written {
    _output: Output,
    _words: Vec<Box<[u32]>>,
    _arrays: Vec<Box<ArrowArray>>,
    result: Box<[u32]>,
}

impl Written {
    pub(crate) fn address(&self) -> u32 {
        address(&self.result)
    }
}

/// Lays out the result of leat_process.
pub(crate) fn write(o: Output, input: usize, targets: usize) -> Written {
    let (mut words, mut arrays): (Vec<Box<[u32]>>, Vec<Box<ArrowArray>>) = (Vec::new(), Vec::new());
    let map = |m: &Vec<u8>| if m.is_empty() { 0 } else { address(m) };
    let (mut children, mut presence) = (Vec::new(), Vec::new());
    for c in &o.columns {
        let mut buffers = vec![map(&c.valid)];
        if c.width == -1 {
            buffers.push(address(&c.offsets));
        }
        buffers.push(if c.data.is_empty() { address(&c.offsets) } else { address(&c.data) }); // never 0
        let buffers = buffers.into_boxed_slice();
        arrays.push(Box::new(ArrowArray::new(c.rows, &buffers, &[])));
        children.push(&**arrays.last().unwrap() as *const ArrowArray as usize as u32);
        presence.push(map(&c.present));
        words.push(buffers);
    }
    let rows = o.rows(input);
    let mut result = vec![0u32; 12];
    result[2] = rows as u32;
    result[3] = o.columns.len() as u32;
    if !o.columns.is_empty() {
        let (none, children, presence) = (vec![0].into_boxed_slice(), children.into_boxed_slice(), presence.into_boxed_slice());
        arrays.push(Box::new(ArrowArray::new(rows, &none, &children)));
        result[4] = &**arrays.last().unwrap() as *const ArrowArray as usize as u32;
        result[5] = address(&presence);
        words.extend([none, children, presence]);
    }
    if o.selected {
        result[6] = address(&o.selection);
        if targets > 1 {
            result[7] = address(&o.routes);
        }
    }
    let errors: Vec<u32> = o.failed.iter().flat_map(|(row, m)| [*row, address(m.as_bytes()), m.len() as u32]).collect();
    let errors = errors.into_boxed_slice();
    result[8] = o.failed.len() as u32;
    result[9] = address(&errors);
    words.push(errors);
    Written { _output: o, _words: words, _arrays: arrays, result: result.into_boxed_slice() }
}

/// A result that is an error of the whole call.
pub(crate) fn refuse(reply: &str) -> Written {
    let mut result = vec![0u32; 12];
    result[0] = address(reply.as_bytes());
    result[1] = reply.len() as u32;
    Written { _output: Output::new(&[]), _words: Vec::new(), _arrays: Vec::new(), result: result.into_boxed_slice() }
}
