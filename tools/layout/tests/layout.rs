//! Modules before and after reordering.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use headgate_layout::LayoutError;
use headgate_layout::functions::Functions;
use headgate_layout::order::Order;
use headgate_layout::reorder::reorder;
use headgate_layout::trace::{run, trace};
use wasmparser::{ElementItems, Operator, Parser, Payload};

const MODULE: &str = r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory 1)
  (table 2 funcref)
  (global $stack (mut i32) (i32.const 16))
  (elem (i32.const 0) $cold $hot)
  (func $cold (result i32) (i32.const 10))
  (func $warm (result i32) (call $cold) (drop) (i32.const 20))
  (func $hot (export "hot") (result i32) (call $warm) (drop) (i32.const 30))
  (start $setup)
  (func $setup (drop (call $log (i32.const 0) (i32.const 0) (i32.const 0)))))"#;

/// The observable structure of a module: constant and callees of each own function, and the targets of its references.
#[derive(Debug, Default)]
struct Shape {
    constants: Vec<i32>,
    calls: Vec<Vec<u32>>,
    hot: u32,
    start: u32,
    table: Vec<u32>,
    custom_sections: usize,
}

fn shape(module: &[u8]) -> Shape {
    let mut shape = Shape::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::ExportSection(section) => {
                shape.hot = section.into_iter().next().unwrap().unwrap().index;
            }
            Payload::StartSection { func, .. } => shape.start = func,
            Payload::ElementSection(section) => {
                let Ok(element) = section.into_iter().next().unwrap() else {
                    panic!("no element");
                };
                if let ElementItems::Functions(items) = element.items {
                    shape.table = items.into_iter().map(Result::unwrap).collect();
                }
            }
            Payload::CodeSectionEntry(body) => {
                let (mut constant, mut calls) = (0, Vec::new());
                for operator in body.get_operators_reader().unwrap() {
                    match operator.unwrap() {
                        Operator::I32Const { value } => constant = value,
                        Operator::Call { function_index } => calls.push(function_index),
                        _ => {}
                    }
                }
                shape.constants.push(constant);
                shape.calls.push(calls);
            }
            Payload::CustomSection(_) => shape.custom_sections += 1,
            _ => {}
        }
    }
    shape
}

#[test]
fn listed_functions_come_first_and_all_references_follow() {
    let module = wat::parse_str(MODULE).unwrap();
    let functions = Functions::read(&module).unwrap();
    assert_eq!(functions.imported, ["env.proxy_log"]);
    assert_eq!(functions.own, ["cold", "warm", "hot", "setup"]);

    let order = Order::new(&functions, "# a comment\nhot\n\ngone\nwarm\n");
    assert_eq!(
        (order.first, &order.unknown[..]),
        (2, &["gone".to_owned()][..])
    );
    let reordered = reorder(&module, &functions, &order).unwrap();
    let shape = shape(&reordered);
    assert_eq!(shape.constants, [30, 20, 10, 0], "hot, warm, cold, setup");
    // 0 is the import; then hot, warm, cold, setup.
    assert_eq!(shape.calls, [vec![2], vec![3], vec![], vec![0]]);
    assert_eq!((shape.hot, shape.start, shape.custom_sections), (1, 4, 0));
    assert_eq!(shape.table, [3, 1], "cold, hot");
}

#[test]
fn functions_that_are_not_listed_keep_their_order() {
    let module = wat::parse_str(MODULE).unwrap();
    let functions = Functions::read(&module).unwrap();
    let order = Order::new(&functions, "");
    assert_eq!((order.first, order.old), (0, vec![0, 1, 2, 3]));
}

#[test]
fn a_module_without_names_or_an_invalid_one_is_rejected() {
    let module = wat::parse_str(MODULE).unwrap();
    let functions = Functions::read(&module).unwrap();
    let order = Order::new(&functions, "");
    let nameless = reorder(&module, &functions, &order).unwrap();
    let error = Functions::read(&nameless).unwrap_err();
    assert!(matches!(error, LayoutError::NoNames), "{error}");
    let error = Functions::read(&module[..module.len() / 2]).unwrap_err();
    assert!(matches!(error, LayoutError::Malformed(_)), "{error}");
}

#[test]
fn each_function_of_a_traced_module_first_reads_its_global() {
    let module = wat::parse_str(MODULE).unwrap();
    let functions = Functions::read(&module).unwrap();
    let traced = trace(&module, &functions).unwrap();
    let (mut globals, mut looks) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(&traced) {
        match payload.unwrap() {
            Payload::GlobalSection(section) => globals = section.count(),
            Payload::CodeSectionEntry(body) => {
                let first = body.get_operators_reader().unwrap().read().unwrap();
                let Operator::GlobalGet { global_index } = first else {
                    panic!("{first:?}");
                };
                looks.push(global_index);
            }
            _ => {}
        }
    }
    assert_eq!((globals, looks), (5, vec![1, 2, 3, 4]));
}

#[test]
fn functions_of_the_timer_are_left_out_of_a_log() {
    let functions = Functions {
        imported: Vec::new(),
        own: ["proxy_on_tick", "flush", "proxy_on_delete", "drop"]
            .map(str::to_owned)
            .to_vec(),
    };
    let log = "[critical][wasm] [context.cc:1] wasm log x: 0002\nnoise: 0003\n\
        [critical][wasm] wasm log x: 0003\nwasm log x: 0000\nwasm log x: 0001\nwasm log x: 0002\nwasm log x: words\n";
    let ran = run(log, &functions);
    assert_eq!(ran, ["proxy_on_delete", "drop", "proxy_on_delete"]);
}
