//! The Leat plugin kit for Rust: no dependency, Rust 1.63 or later.
//!
//! A transform is one function that plans a table and, if it needs data,
//! closures that see its batches:
//!
//! ```ignore
//! fn plan(p: &mut leat::Plan) -> Result<(), String> {
//!     let email = p.table.find("email").ok_or("the table has no column email")?;
//!     p.keep_all();
//!     p.rewrite(email, |_, out| {
//!         out.push_str("***");
//!         Ok(())
//!     });
//!     Ok(())
//! }
//! leat::transform!(plan);
//! ```
//!
//! Sections are those of `pdk/README.md`, the interface itself.

mod batch;
mod destination;
mod exports;
mod host;
pub mod json;
mod kernel;
mod layout;
mod output;
mod plan;

pub use batch::{Batch, Cell, Op, Place, View};
pub use destination::{Checkpoint, Destination, Info, Ingest, IngestColumn, Landing, Open, Source, TargetColumn, WriteBatch};
pub use host::{blob, http, kv, now, random, sql, Class, Failure};
pub use json::Json;
pub use kernel::{run_kernel, Kernel};
pub use output::{Column, Output};
pub use plan::{Field, From, Input, Plan, Table, Target};

#[doc(hidden)]
pub use destination::Held;
#[doc(hidden)]
pub use exports::{alloc, call, plan as run_plan, process as run_process};

/// How loud a line of the log is.
#[derive(Clone, Copy)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

/// Writes a line to Leat's log, cut at 4 KiB.
pub fn log(level: Level, line: &str) {
    unsafe { exports::host::log(level as i32, line.as_ptr(), line.len() as u32) }
}

/// Makes the plugin a transform. The function plans a table:
/// `fn(&mut Plan) -> Result<(), String>`.
#[macro_export]
macro_rules! transform {
    ($plan:path) => {
        $crate::exports_common!();
        #[no_mangle]
        pub extern "C" fn leat_plan(_at: u32, len: u32) -> u64 {
            $crate::run_plan(len, $plan)
        }
        #[no_mangle]
        pub extern "C" fn leat_process(at: u32) -> u32 {
            $crate::run_process(at)
        }
    };
}

/// Makes the plugin a destination: a type that implements [`Destination`] and
/// [`Default`].
#[macro_export]
macro_rules! destination {
    ($type:ty) => {
        $crate::exports_common!();
        $crate::destination_call!($type, leat_open, open);
        $crate::destination_call!($type, leat_plan, plan);
        $crate::destination_call!($type, leat_write, write);
        $crate::destination_call!($type, leat_commit, commit);
        $crate::destination_call!($type, leat_checkpoint, checkpoint);
        $crate::destination_call!($type, leat_rollback, rollback);
        $crate::destination_call!($type, leat_close, close);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! destination_call {
    ($type:ty, $export:ident, $method:ident) => {
        #[no_mangle]
        pub extern "C" fn $export(_at: u32, len: u32) -> u64 {
            $crate::call::<$type>(len, |d, request| d.$method(request))
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! exports_common {
    () => {
        #[no_mangle]
        pub extern "C" fn leat_abi_version() -> i32 {
            1
        }
        #[no_mangle]
        pub extern "C" fn leat_alloc(size: u32) -> u32 {
            $crate::alloc(size)
        }
    };
}
