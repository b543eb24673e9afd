//! session.rs - the collected heap from Rust through what bindgen makes of the header, so nothing of it is written by hand:
//!   bindgen --no-prepend-enum-name --allowlist-function 'mgc_.*' --allowlist-type 'mgc_.*' --allowlist-var 'MGC_.*' \
//!       -o mallocgc.rs PREFIX/include/mallocgc.h
//!   rustc session.rs -L PREFIX/lib -l mallocgc        (mallocgc.rs lies beside it)
//!
//! Sessions that refer to each other; the one in use is held by a handle, as the collector does not look into Box and Vec.
#[allow(dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals)]
mod mallocgc;

use mallocgc::*;
use std::mem;
use std::os::raw::c_void;
use std::ptr::{addr_of_mut, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

#[repr(C)]
struct Session {
    previous: *mut Session,
    number: u64,
}

static FIRST_WORD: [u8; 1] = [1];
static mut SESSION: mgc_type = mgc_type {
    name: b"session\0".as_ptr() as *const _,
    size: mem::size_of::<Session>() as _,
    ptr_bytes: 8,
    ptr_mask: FIRST_WORD.as_ptr(),
    trace: None,
    flags: 0,
    ptr_tags: 0,
    ptr_tag_mask: 0,
    reserved: 0,
    trace_part: None,
    mgc_id: 0,
};

static CLOSED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn close(_session: *mut c_void, _arg: *mut c_void) {
    CLOSED.fetch_add(1, Ordering::Relaxed);
}

/// A handle for a new session behind the one that `last` holds, which is let go.
unsafe fn open(last: mgc_handle, number: u64) -> mgc_handle {
    let session = mgc_new(addr_of_mut!(SESSION)) as *mut Session;
    assert!(!session.is_null(), "no memory");
    (*session).previous = mgc_handle_get(last) as *mut Session; // nobody else sees it yet: plain stores
    (*session).number = number;
    assert_eq!(mgc_finalizer_set(session as *mut c_void, Some(close), null_mut()), 0);
    mgc_handle_free(last);
    mgc_handle_new(session as *mut c_void)
}

unsafe fn length(handle: mgc_handle) -> u64 {
    let mut n = 0;
    let mut session = mgc_handle_get(handle) as *mut Session;
    while !session.is_null() {
        n += 1;
        session = (*session).previous;
    }
    n
}

/// In a frame of its own: what lies there when it has returned keeps nothing.
#[inline(never)]
unsafe fn run() {
    let mut held = vec![0 as mgc_handle; 100]; // 0: of nothing
    for number in 0..10_000 {
        let place = number as usize % held.len();
        held[place] = open(held[place], number);
    }
    mgc_collect();
    mgc_run_finalizers();
    assert_eq!(CLOSED.load(Ordering::Relaxed), 0);
    assert_eq!(held.iter().map(|h| length(*h)).sum::<u64>(), 10_000);
    let newest = mgc_handle_get(held[99]) as *mut Session;
    mgc_write(addr_of_mut!((*newest).previous) as *mut c_void, null_mut()); // reachable: with the barrier
    for handle in held.drain(..) {
        mgc_handle_free(handle);
    }
}

fn main() {
    unsafe {
        run();
        for _ in 0..200 {
            mgc_collect(); // a session's finalizer keeps the one before it: one of each chain at a time
            mgc_run_finalizers();
        }
        let mut stats: mgc_stats = mem::zeroed();
        stats.struct_size = mem::size_of::<mgc_stats>() as _;
        mgc_read_stats(&mut stats);
        let closed = CLOSED.load(Ordering::Relaxed);
        assert!(closed > 9_000, "{} were closed", closed);
        println!("{} collections, most of 10000 sessions closed: good", stats.forced_cycles);
    }
}
