//! Section 7: kernels over columns that the plugin has made.

use crate::batch::View;
use crate::exports::host;
use crate::host::{call, Failure};
use crate::json::Json;
use crate::layout;
use crate::plan::Field;
use std::slice::from_raw_parts;

/// What a kernel made of columns. A row that it could not work on is absent.
pub struct Kernel {
    pub format: String,
    /// The rows that failed, and why.
    pub failed: Vec<(usize, String)>,
    rows: usize,
    block: Vec<u64>,
}

impl Kernel {
    /// The cells of the result.
    pub fn view(&self) -> View<'_> {
        let head = self.block.as_ptr() as *const u32;
        unsafe { layout::view(*head, *head.add(1), self.rows, &self.format) }
    }
}

/// Has the host compute a kernel of pdk/README.md at once, over columns of one
/// length: those of the batch, of a [`crate::Column`], or another kernel's
/// result. `Field`s say what they are; names count where the kernel names its
/// columns. What the plan can say beforehand costs less there, see
/// [`crate::Plan::kernel`].
pub fn run_kernel(name: &str, parameters: Json, inputs: &[(&Field, &View)]) -> Result<Kernel, Failure> {
    let rows = inputs.first().map_or(0, |(_, v)| v.rows);
    let arrays: Vec<_> = inputs.iter().map(|(_, v)| layout::array_of(v)).collect();
    let columns = inputs.iter().zip(&arrays).map(|((field, _), (array, _, presence))| {
        Json::object([
            ("name", (&*field.name).into()),
            ("format", (&*field.format).into()),
            ("pg_type", field.pg_type.clone()),
            ("array", (&**array as *const _ as usize as i64).into()),
            ("presence", (*presence as i64).into()),
        ])
    });
    let request = Json::object([("kernel", name.into()), ("parameters", parameters), ("rows", (rows as i64).into()), ("inputs", Json::List(columns.collect()))]);
    let ok = call(host::kernel_run, &request)?;
    let size = ok.get("size").int().unwrap_or(0) as usize;
    let mut block = vec![0u64; (size + 7) / 8];
    unsafe { host::kernel_result(block.as_mut_ptr(), size as u32) };
    let head = block.as_ptr() as *const u32;
    let errors = unsafe { from_raw_parts(*head.add(3) as usize as *const u32, 3 * *head.add(2) as usize) };
    let text = |e: &[u32]| unsafe { String::from_utf8_lossy(from_raw_parts(e[1] as usize as *const u8, e[2] as usize)).into_owned() };
    let failed = errors.chunks(3).map(|e| (e[0] as usize, text(e))).collect();
    Ok(Kernel { format: ok.get("format").text().into(), failed, rows, block })
}
