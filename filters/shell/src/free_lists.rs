//! Lists of free blocks in front of another allocator.
//!
//! A request allocates some twenty small blocks and frees them again. A general allocator runs a few hundred instructions for
//! each, because it merges neighbours; they are seldom in the worker's caches when a request comes. With a list of free blocks
//! for each size, that is a load and a store.
//!
//! Invariant: a block of a class comes from the other allocator with exactly the size of the class, and returns to the list of
//! that class, never to the other allocator. So memory is bounded by its greatest use. Not for several threads.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ptr::{copy_nonoverlapping, null_mut};

/// Classes are powers of two: 16, 32, … 1024 bytes. The other allocator serves larger blocks.
const CLASSES: usize = 7;
const SMALLEST: u32 = 4;
/// Alignment of every block of a class: the greatest of wasm32's primitive types.
const ALIGN: usize = 16;

/// Free blocks by class, in front of the allocator `A`.
pub(crate) struct FreeLists<A> {
    other: A,
    /// A free block begins with the address of the next one.
    free: [Cell<*mut u8>; CLASSES],
}

/// The class of a block with this layout; `None` if the other allocator serves it.
fn class(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN {
        return None;
    }
    let last = layout.size().max(1) - 1;
    let class = (usize::BITS - (last >> SMALLEST).leading_zeros()) as usize;
    (class < CLASSES).then_some(class)
}

fn layout_of(class: usize) -> Layout {
    // SAFETY: a power of two of at least the alignment, far below the address space.
    unsafe { Layout::from_size_align_unchecked(1 << (SMALLEST as usize + class), ALIGN) }
}

impl<A> FreeLists<A> {
    /// Empty lists in front of another allocator.
    pub(crate) const fn new(other: A) -> Self {
        Self {
            other,
            free: [const { Cell::new(null_mut()) }; CLASSES],
        }
    }
}

// SAFETY: blocks of a class have its size and the greatest alignment, and are in no list while they are used. All other blocks
// are those of the other allocator.
unsafe impl<A: GlobalAlloc> GlobalAlloc for FreeLists<A> {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class(layout) else {
            // SAFETY: the caller's layout.
            return unsafe { self.other.alloc(layout) };
        };
        let block = self.free[class].get();
        if block.is_null() {
            // SAFETY: the layout of the class has a size above 0.
            return unsafe { self.other.alloc(layout_of(class)) };
        }
        // SAFETY: a free block begins with an address, and is aligned for it.
        self.free[class].set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else {
            // SAFETY: a block without a class came from the other allocator with this layout.
            return unsafe { self.other.dealloc(block, layout) };
        };
        // SAFETY: the block has at least 16 bytes, and nobody uses it.
        unsafe { block.cast::<*mut u8>().write(self.free[class].get()) };
        self.free[class].set(block);
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size`, rounded up to the alignment, does not overflow.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class(layout), class(wanted)) {
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: a block of the other allocator stays one.
            (None, None) => unsafe { self.other.realloc(block, layout, size) },
            // SAFETY: the blocks do not overlap, and both have at least the smaller size.
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
