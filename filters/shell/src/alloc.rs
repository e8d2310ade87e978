//! The allocator of the module: [`FreeLists`] in front of the system's allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

use crate::free_lists::FreeLists;

/// The lists, for the one thread that a wasm VM has.
struct SingleThreadAllocator(FreeLists<System>);

// SAFETY: a wasm module of this target has one thread.
unsafe impl Sync for SingleThreadAllocator {}

#[global_allocator]
static ALLOCATOR: SingleThreadAllocator = SingleThreadAllocator(FreeLists::new(System));

// SAFETY: as that of the lists.
unsafe impl GlobalAlloc for SingleThreadAllocator {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { self.0.alloc(layout) }
    }

    #[inline(always)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline(always)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { self.0.realloc(block, layout, size) }
    }
}
