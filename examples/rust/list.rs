//! list.rs - the collected heap from Rust: a starting point for bindings, written by hand; `bindgen include/mallocgc.h`
//! writes the same for all of it.
//!   rustc list.rs -L PREFIX/lib -l mallocgc
//!
//! The collector reads the stacks of threads, so local variables keep objects; it does not read Box, Vec and their like:
//! from there hold a handle (mgc_handle_new). Fields of objects are stored to by mgc_write.
use std::os::raw::{c_char, c_int, c_long, c_void};

#[repr(C)]
struct MgcType {
    name: *const c_char,
    size: usize,
    ptr_bytes: usize,
    ptr_mask: *const u8,
    trace: Option<extern "C" fn(*mut c_void, *mut c_void)>,
    flags: u32,
    ptr_tags: u16,
    ptr_tag_mask: u8,
    reserved: u8,
    trace_part: Option<extern "C" fn(*mut c_void, usize, usize, *mut c_void)>,
    mgc_id: u64, // written by the library: the type is a static mut
}

extern "C" {
    fn mgc_new(kind: *mut MgcType) -> *mut c_void;
    fn mgc_write(slot: *mut c_void, pointer: *mut c_void);
    fn mgc_collect();
    fn mgc_root_add(start: *mut c_void, nbytes: usize, flags: u32) -> c_int;
    fn mgc_size(pointer: *const c_void) -> usize;
}

#[repr(C)]
struct Node {
    next: *mut Node,
    number: c_long,
}

static FIRST_WORD: [u8; 1] = [1];
static mut NODE: MgcType = MgcType {
    name: b"node\0".as_ptr() as *const c_char,
    size: std::mem::size_of::<Node>(),
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

/// The list: a root.
static mut LIST: *mut Node = std::ptr::null_mut();

fn push(number: c_long) {
    unsafe {
        let node = mgc_new(std::ptr::addr_of_mut!(NODE)) as *mut Node;
        assert!(!node.is_null(), "no memory");
        (*node).number = number; // nobody else sees it yet: plain stores
        (*node).next = LIST;
        mgc_write(std::ptr::addr_of_mut!(LIST) as *mut c_void, node as *mut c_void);
    }
}

fn main() {
    unsafe {
        assert_eq!(mgc_root_add(std::ptr::addr_of_mut!(LIST) as *mut c_void, 8, 0), 0);
    }
    for number in 0..100_000 {
        push(number);
        if number % 10_000 == 0 {
            unsafe { mgc_collect() }
        }
    }
    let mut sum = 0;
    unsafe {
        mgc_collect();
        let mut node = LIST;
        while !node.is_null() {
            assert_eq!(mgc_size(node as *const c_void), 16);
            sum += (*node).number;
            node = (*node).next;
        }
    }
    assert_eq!(sum, 99_999 * 100_000 / 2);
    println!("a list of 100000 nodes after 11 collections: good");
}
