//! A heap behind the lists that checks each block, and a model of the blocks in use.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::free_lists::FreeLists;

/// A memory operation of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    /// Allocates this number of bytes (at least 1) with this alignment, a power of two.
    Allocate {
        /// Bytes.
        size: usize,
        /// Alignment.
        align: usize,
    },
    /// Frees one of its blocks.
    Free {
        /// The index of the block, modulo the number of blocks.
        at: usize,
    },
    /// Resizes one of its blocks.
    Resize {
        /// The index of the block, modulo the number of blocks.
        at: usize,
        /// Bytes.
        size: usize,
    },
}

/// The allocator behind the lists. It records its blocks. A clone is the same allocator.
#[derive(Clone, Default)]
struct Source(Rc<Records>);

#[derive(Default)]
struct Records {
    given: RefCell<BTreeMap<usize, Layout>>,
    obtained: RefCell<usize>,
}

// SAFETY: the system's allocator.
unsafe impl GlobalAlloc for Source {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        assert!(layout.size() > 0, "{layout:?}");
        // SAFETY: the size is above 0.
        let block = unsafe { System.alloc(layout) };
        assert!(!block.is_null());
        *self.0.obtained.borrow_mut() += 1;
        let before = self.0.given.borrow_mut().insert(block as usize, layout);
        assert_eq!(before, None, "given twice");
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let given = self.0.given.borrow_mut().remove(&(block as usize));
        assert_eq!(given, Some(layout), "freed with another layout");
        // SAFETY: just checked.
        unsafe { System.dealloc(block, layout) };
    }
}

/// A block in use: its address, its layout, and the byte it is filled with.
struct Block(*mut u8, Layout, u8);

/// A program's memory.
pub(crate) struct Heap {
    lists: FreeLists<Source>,
    source: Source,
    blocks: Vec<Block>,
    filled: u8,
}

impl Heap {
    /// A heap without blocks in use.
    pub(crate) fn new() -> Self {
        let source = Source::default();
        Self {
            lists: FreeLists::new(source.clone()),
            source,
            blocks: Vec::new(),
            filled: 0,
        }
    }

    /// Blocks that the lists got from the allocator behind them.
    pub(crate) fn obtained(&self) -> usize {
        *self.source.0.obtained.borrow()
    }

    /// Performs the operation, and checks every block in use.
    pub(crate) fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Allocate { size, align } => {
                let layout = Layout::from_size_align(size.max(1), align).expect("a layout");
                // SAFETY: the size is above 0.
                let block = unsafe { self.lists.alloc(layout) };
                self.fill(block, layout);
            }
            Operation::Free { at } => {
                if let Some(Block(block, layout, byte)) = self.take(at) {
                    check(block, layout.size(), byte);
                    // SAFETY: in use until now, with this layout.
                    unsafe { self.lists.dealloc(block, layout) };
                }
            }
            Operation::Resize { at, size } => {
                let Some(Block(block, layout, byte)) = self.take(at) else {
                    return;
                };
                let wanted =
                    Layout::from_size_align(size.max(1), layout.align()).expect("a layout");
                // SAFETY: in use until now, with this layout; the size is above 0.
                let new = unsafe { self.lists.realloc(block, layout, wanted.size()) };
                check(new, layout.size().min(wanted.size()), byte);
                self.fill(new, wanted);
            }
        }
        self.check_all();
    }

    fn take(&mut self, at: usize) -> Option<Block> {
        let count = self.blocks.len();
        (count > 0).then(|| self.blocks.swap_remove(at % count))
    }

    fn fill(&mut self, block: *mut u8, layout: Layout) {
        assert!(!block.is_null());
        assert_eq!(block as usize % layout.align(), 0, "not aligned");
        self.filled = self.filled.wrapping_add(1);
        // SAFETY: a new block of this size.
        unsafe { block.write_bytes(self.filled, layout.size()) };
        self.blocks.push(Block(block, layout, self.filled));
    }

    /// Every block lies within one that the lists got, none overlaps another, and each has its content.
    fn check_all(&self) {
        let given = self.source.0.given.borrow();
        let mut blocks: Vec<_> = self.blocks.iter().collect();
        blocks.sort_by_key(|block| block.0);
        let mut end = 0;
        for Block(block, layout, byte) in blocks {
            let at = *block as usize;
            assert!(at >= end, "two blocks overlap");
            end = at + layout.size();
            let owner = given.get(&at).expect("a block of the allocator behind");
            assert!(owner.size() >= layout.size(), "{layout:?} in {owner:?}");
            check(*block, layout.size(), *byte);
        }
    }

    /// Frees every block. Then each block in the lists serves one more allocation of its class without a new block, so none
    /// is lost.
    pub(crate) fn finish(mut self) {
        while !self.blocks.is_empty() {
            self.run(Operation::Free { at: 0 });
        }
        let free_blocks: Vec<Layout> = self.source.0.given.borrow().values().copied().collect();
        let obtained = self.obtained();
        for layout in &free_blocks {
            self.run(Operation::Allocate {
                size: layout.size(),
                align: layout.align(),
            });
        }
        assert_eq!(self.obtained(), obtained, "a free block was lost");
        for Block(block, layout, _) in self.blocks.drain(..) {
            // SAFETY: in use; the lists are gone after this.
            unsafe { self.source.dealloc(block, layout) };
        }
        assert!(self.source.0.given.borrow().is_empty());
    }
}

/// Whether a block still has its content.
fn check(block: *const u8, size: usize, byte: u8) {
    // SAFETY: the caller's block, of at least this size.
    let bytes = unsafe { std::slice::from_raw_parts(block, size) };
    assert!(bytes.iter().all(|b| *b == byte), "content was overwritten");
}
