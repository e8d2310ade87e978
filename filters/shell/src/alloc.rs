//! The module's allocator: lists of free blocks in front of the system's.
//!
//! Why not the system's alone: a request allocates some twenty small things and frees them again, each through a
//! few hundred instructions of a general allocator that has to merge neighbours. Those are seldom in the worker's
//! caches when a request comes. A list of free blocks per size is a load and a store.
//!
//! Invariant: a block of a class was got from the system with exactly the class's size, and goes back into the
//! list of that class, never to the system; so memory is bounded by what was in use at once. Sound because a
//! wasm module of this target has one thread.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{copy_nonoverlapping, null_mut};

/// Classes are powers of two: 16, 32, … 1024 bytes. What is larger is the system's.
const CLASSES: usize = 7;
const SMALLEST: u32 = 4;
/// Alignment of every block, the target's greatest.
const ALIGN: usize = 16;

struct Blocks {
    /// A free block begins with the address of the next.
    free: [Cell<*mut u8>; CLASSES],
}

// SAFETY: one thread; see the module's documentation.
unsafe impl Sync for Blocks {}

#[global_allocator]
static BLOCKS: Blocks = Blocks {
    free: [const { Cell::new(null_mut()) }; CLASSES],
};

/// The class that a block of this layout is of.
fn class(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN {
        return None;
    }
    let last = (layout.size().max(1) - 1) as u32;
    let class = (u32::BITS - (last >> SMALLEST).leading_zeros()) as usize;
    (class < CLASSES).then_some(class)
}

fn of_class(class: usize) -> Layout {
    // SAFETY: a power of two of at least the alignment, far below the address space.
    unsafe { Layout::from_size_align_unchecked(1 << (SMALLEST as usize + class), ALIGN) }
}

// SAFETY: blocks of a class have its size and the greatest alignment, and are in no list while they are used;
// everything else is the system's.
unsafe impl GlobalAlloc for Blocks {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: the caller's layout.
            return unsafe { System.alloc(layout) };
        };
        let block = self.free[class].get();
        if block.is_null() {
            // SAFETY: the class's layout.
            return unsafe { System.alloc(of_class(class)) };
        }
        // SAFETY: a free block begins with an address, aligned as every block is.
        self.free[class].set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            // SAFETY: not of a class, so it came from the system with this layout.
            return unsafe { System.dealloc(block, layout) };
        };
        // SAFETY: the block is of at least 16 bytes and nobody's now.
        unsafe { block.cast::<*mut u8>().write(self.free[class].get()) };
        self.free[class].set(block);
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise: `size`, rounded up to the alignment, is no overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class(layout), class(wanted)) {
            (Some(is), Some(wants)) if is == wants => block,
            // SAFETY: the system's block, and its to be again.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            // SAFETY: both are of at least the smaller size, and of different blocks.
            _ => unsafe {
                let new = self.alloc(wanted);
                if !new.is_null() {
                    copy_nonoverlapping(block, new, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                new
            },
        }
    }
}
