//! The lists of free blocks of the module's allocator, on this machine. Their crate links only as a module.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

#[path = "../../../filters/shell/src/free_lists.rs"]
mod free_lists;
#[path = "free_lists/heap.rs"]
mod heap;

use proptest::prelude::*;

use crate::heap::{Heap, Operation};

fn operation() -> impl Strategy<Value = Operation> {
    // Around the sizes of the classes, and beyond the largest.
    let size = prop_oneof![
        3 => (0_usize..11, 0_usize..3).prop_map(|(power, off)| (1 << power) + off),
        1 => 0_usize..3000,
    ];
    let align = prop_oneof![6 => 0_u32..5, 1 => 5_u32..8];
    prop_oneof![
        3 => (size.clone(), align).prop_map(|(size, align)| Operation::Allocate { size, align: 1 << align }),
        2 => any::<prop::sample::Index>().prop_map(|at| Operation::Free { at: at.index(usize::MAX) }),
        2 => (any::<prop::sample::Index>(), size).prop_map(|(at, size)| Operation::Resize { at: at.index(usize::MAX), size }),
    ]
}

proptest! {
    /// Blocks never overlap, are aligned, keep their content, and none is lost.
    #[test]
    fn any_use_keeps_blocks_apart_and_loses_none(operations in prop::collection::vec(operation(), 0..200)) {
        let mut heap = Heap::new();
        for operation in operations {
            heap.run(operation);
        }
        heap.finish();
    }
}

/// A block that is freed serves the next allocation of its class, whatever its exact size.
#[test]
fn a_free_block_is_used_again() {
    let mut heap = Heap::new();
    for size in [17, 32, 20] {
        heap.run(Operation::Allocate { size, align: 8 });
        assert_eq!(heap.obtained(), 1, "{size}");
        heap.run(Operation::Free { at: 0 });
    }
    heap.run(Operation::Allocate { size: 33, align: 8 });
    assert_eq!(heap.obtained(), 2, "another class");
    heap.finish();
}

/// Memory follows the greatest use, not the number of allocations.
#[test]
fn memory_is_bounded_by_its_greatest_use() {
    let mut heap = Heap::new();
    for _ in 0..1000 {
        for _ in 0..20 {
            heap.run(Operation::Allocate {
                size: 100,
                align: 8,
            });
        }
        for _ in 0..20 {
            heap.run(Operation::Free { at: 0 });
        }
    }
    assert_eq!(heap.obtained(), 20);
    heap.finish();
}
