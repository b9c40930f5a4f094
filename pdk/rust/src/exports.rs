//! Section 2: the calls of the host. A module has one thread, and every call
//! ends before the next begins.

use crate::destination::{Destination, Held};
use crate::host::Failure;
use crate::json::Json;
use crate::layout::{self, Written};
use crate::output::Output;
use crate::plan::Plan;
use std::any::Any;
use std::cell::UnsafeCell;

pub(crate) mod host {
    #[link(wasm_import_module = "leat")]
    extern "C" {
        pub fn log(level: i32, at: *const u8, len: u32);
        pub fn reply(into: *mut u8, len: u32);
        pub fn sql_exec(at: *const u8, len: u32) -> u32;
        pub fn sql_query(at: *const u8, len: u32) -> u32;
        pub fn sql_ingest(at: *const u8, len: u32) -> u32;
        pub fn sql_begin(at: *const u8, len: u32) -> u32;
        pub fn sql_commit(at: *const u8, len: u32) -> u32;
        pub fn sql_rollback(at: *const u8, len: u32) -> u32;
        pub fn http_request(at: *const u8, len: u32) -> u32;
        pub fn kv_get(at: *const u8, len: u32) -> u32;
        pub fn kv_put(at: *const u8, len: u32) -> u32;
        pub fn kv_delete(at: *const u8, len: u32) -> u32;
        pub fn kv_list(at: *const u8, len: u32) -> u32;
        pub fn blob_get(at: *const u8, len: u32) -> u32;
        pub fn blob_put(at: *const u8, len: u32) -> u32;
        pub fn blob_delete(at: *const u8, len: u32) -> u32;
        pub fn blob_list(at: *const u8, len: u32) -> u32;
        pub fn kernel_run(at: *const u8, len: u32) -> u32;
        pub fn kernel_result(into: *mut u64, len: u32);
        pub fn clock_now() -> i64;
        pub fn random_fill(into: *mut u8, len: u32);
    }
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        pub fn fd_write(fd: u32, parts: *const u32, n: u32, written: *mut u32) -> u32;
    }
}

struct State {
    input: Vec<u64>,
    reply: String,
    written: Option<Written>,
    plans: Vec<(u32, Plan)>,
    destination: Option<Box<dyn Any>>,
    hooked: bool,
}

struct Only(UnsafeCell<State>);
unsafe impl Sync for Only {}

static STATE: Only = Only(UnsafeCell::new(State {
    input: Vec::new(),
    reply: String::new(),
    written: None,
    plans: Vec::new(),
    destination: None,
    hooked: false,
}));

fn state() -> &'static mut State {
    unsafe { &mut *STATE.0.get() }
}

/// leat_alloc. The first call also sees to it that a panic's text reaches the
/// host's error.
pub fn alloc(size: u32) -> u32 {
    let s = state();
    if !s.hooked {
        s.hooked = true;
        std::panic::set_hook(Box::new(|info| {
            let text = info.to_string();
            let part = [text.as_ptr() as usize as u32, text.len() as u32];
            let mut written = 0;
            unsafe { host::fd_write(2, part.as_ptr(), 1, &mut written) };
        }));
    }
    let words = size as usize / 8 + 1;
    if s.input.len() < words {
        s.input = vec![0; words];
    }
    s.input.as_ptr() as usize as u32
}

fn request(len: u32) -> Result<Json, String> {
    let bytes = unsafe { std::slice::from_raw_parts(state().input.as_ptr() as *const u8, len as usize) };
    Json::parse(std::str::from_utf8(bytes).map_err(|_| "the request is not UTF-8")?)
}

fn answer(result: Result<Json, Failure>) -> u64 {
    let s = state();
    s.reply.clear();
    match result {
        Ok(value) => Json::object([("ok", value)]),
        Err(r) => Json::object([("error", r.json())]),
    }
    .write(&mut s.reply);
    (s.reply.as_ptr() as usize as u64) << 32 | s.reply.len() as u64
}

/// leat_plan of a transform.
pub fn plan(len: u32, plan: fn(&mut Plan) -> Result<(), String>) -> u64 {
    answer(request(len).map_err(Failure::new).and_then(|r| {
        let mut p = Plan::new(&r);
        plan(&mut p).map_err(Failure::new)?;
        let reply = p.reply();
        state().plans.push((r.get("plan").int().unwrap_or(0) as u32, p));
        Ok(reply)
    }))
}

/// leat_process.
pub fn process(at: u32) -> u32 {
    let s = state();
    s.written = None;
    let number = unsafe { *(at as usize as *const u32) };
    let result = match s.plans.iter().rev().find(|(n, _)| *n == number) {
        None => Err(format!("no plan has number {}", number)),
        Some((_, p)) => {
            let b = unsafe { layout::read(at, p) };
            let mut o = Output::new(&p.computed);
            let done = p.process.iter().try_for_each(|f| f(&b, &mut o));
            o.follow(&p.rewritten);
            done.map(|()| layout::write(o, b.rows(), p.targets.len()))
        }
    };
    let written = result.unwrap_or_else(|message| {
        answer(Err(Failure::new(message)));
        layout::refuse(&state().reply)
    });
    let at = written.address();
    state().written = Some(written);
    at
}

/// A call of a destination.
pub fn call<D: Destination + Default + 'static>(len: u32, f: fn(&mut Held<D>, &Json) -> Result<Json, Failure>) -> u64 {
    let destination = state().destination.get_or_insert_with(|| Box::new(Held::<D>::default()));
    let d = destination.downcast_mut::<Held<D>>().expect("one destination");
    answer(request(len).map_err(Failure::new).and_then(|r| f(d, &r)))
}
