//! Section 5: what a batch becomes.

use crate::batch::{width, Fixed, View};

/// The computed columns of a batch and, if rows are emitted, where each output
/// row comes from. Push one cell to every computed column for each output row.
pub struct Output {
    pub(crate) columns: Vec<Column>,
    pub(crate) selected: bool,
    pub(crate) selection: Vec<i32>,
    pub(crate) routes: Vec<i32>,
    pub(crate) failed: Vec<(u32, String)>,
}

impl Output {
    pub(crate) fn new(computed: &[String]) -> Output {
        Output { columns: computed.iter().map(|f| Column::new(f)).collect(), selected: false, selection: Vec::new(), routes: Vec::new(), failed: Vec::new() }
    }

    /// The builder of computed column k.
    pub fn column(&mut self, k: usize) -> &mut Column {
        &mut self.columns[k]
    }

    /// No row stays if none is emitted. [`Output::emit`] calls it.
    pub fn select(&mut self) {
        self.selected = true;
    }

    /// Makes an input row the next output row of a target; rows go in input
    /// order, as often as wanted. Without it every input row is an output row.
    pub fn emit(&mut self, row: usize, target: usize) {
        self.selected = true;
        self.selection.push(row as i32);
        self.routes.push(target as i32);
    }

    /// The row becomes a failed event, the rest of the batch goes on. Its cells
    /// are pushed all the same.
    pub fn fail(&mut self, row: usize, message: &str) {
        self.failed.push((row as u32, message.chars().take(1000).collect()));
    }

    /// Has columns that were filled row by row of the input follow the rows that
    /// were emitted.
    pub(crate) fn follow(&mut self, rewritten: &[usize]) {
        if self.selected {
            for &k in rewritten {
                self.columns[k] = self.columns[k].chosen(&self.selection);
            }
        }
    }

    pub(crate) fn rows(&self, input: usize) -> usize {
        if self.selected {
            self.selection.len()
        } else {
            input
        }
    }
}

/// The cells of a computed column.
pub struct Column {
    pub(crate) width: i32,
    pub(crate) rows: usize,
    pub(crate) data: Vec<u8>,
    pub(crate) offsets: Vec<i32>,
    pub(crate) valid: Vec<u8>,
    pub(crate) present: Vec<u8>,
}

/// Sets bit i of a map that is as long as i, or, while it is empty, stays so
/// for as long as every bit is set.
fn set(map: &mut Vec<u8>, i: usize, on: bool) {
    if map.is_empty() {
        if on {
            return;
        }
        map.resize(i / 8 + 1, 0xff);
    }
    if i / 8 >= map.len() {
        map.push(0);
    }
    if on {
        map[i / 8] |= 1 << (i % 8);
    } else {
        map[i / 8] &= !(1 << (i % 8));
    }
}

impl Column {
    /// An empty column of a format, for what is no output: see
    /// [`crate::run_kernel`].
    pub fn new(format: &str) -> Column {
        Column { width: width(format), rows: 0, data: Vec::new(), offsets: vec![0], valid: Vec::new(), present: Vec::new() }
    }

    /// The cells that were pushed.
    pub fn view(&self) -> View<'_> {
        View {
            rows: self.rows,
            width: self.width,
            valid: Some(&*self.valid).filter(|m| !m.is_empty()),
            present: Some(&*self.present).filter(|m| !m.is_empty()),
            offsets: &self.offsets,
            data: &self.data,
        }
    }

    fn end(&mut self, valid: bool, present: bool) {
        if self.width == -1 {
            assert!(self.data.len() <= i32::MAX as usize, "a column of more than 2 GiB");
            self.offsets.push(self.data.len() as i32);
        }
        set(&mut self.valid, self.rows, valid);
        set(&mut self.present, self.rows, present);
        self.rows += 1;
    }

    fn chosen(&self, rows: &[i32]) -> Column {
        let mut c = Column::new("u");
        let on = |map: &[u8], i: usize| map.is_empty() || map[i / 8] >> (i % 8) & 1 == 1;
        for &row in rows {
            let row = row as usize;
            c.data.extend_from_slice(&self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]);
            c.end(on(&self.valid, row), on(&self.present, row));
        }
        c
    }

    pub fn push_text(&mut self, v: &str) {
        self.push_bytes(v.as_bytes());
    }

    pub fn push_bytes(&mut self, v: &[u8]) {
        assert!(self.width == -1, "the column is not text or binary");
        self.data.extend_from_slice(v);
        self.end(true, true);
    }

    pub fn push_bool(&mut self, v: bool) {
        assert!(self.width == 0, "the column is not boolean");
        self.push_bit(v);
        self.end(true, true);
    }

    fn push_bit(&mut self, v: bool) {
        if self.rows % 8 == 0 {
            self.data.push(0);
        }
        self.data[self.rows / 8] |= (v as u8) << (self.rows % 8);
    }

    /// Pushes a value of fixed width, see [`crate::View::get`].
    pub fn push<T: Fixed>(&mut self, v: T) {
        let size = std::mem::size_of::<T>();
        assert!(self.width as usize == size, "the column has another width");
        self.data.extend_from_slice(unsafe { std::slice::from_raw_parts(&v as *const T as *const u8, size) });
        self.end(true, true);
    }

    pub fn push_null(&mut self) {
        self.push_nothing();
        self.end(false, true);
    }

    /// The cell stays as it is at the destination.
    pub fn push_absent(&mut self) {
        self.push_nothing();
        self.end(false, false);
    }

    fn push_nothing(&mut self) {
        match self.width {
            -1 => {}
            0 => self.push_bit(false),
            w => self.data.resize(self.data.len() + w as usize, 0),
        }
    }
}
