//! xDS server rules 9 and 10 in resources: the source of modules, the reaction to a trap, and Envoy's limits of time and memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::core::v3::async_data_source::Specifier as Source;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config::Vm;
use envoy_types::pb::envoy::extensions::wasm::v3::{FailurePolicy, PluginConfig, VmConfig};
use headgate_model::Plan;
use headgate_translate::{Code, FILTERS, Filter, Options, ScopeSpec, snapshot};
use headgate_xds::{Kind, Snapshot};
use prost::Message;

const FILE: &str = "/modules/headgate-0123.wasm";

fn translated(code: &Code) -> Snapshot {
    let domains = [("default".to_owned(), vec!["*".to_owned()])];
    let options = Options {
        max_body_bytes: 3 << 20,
        ..Options::new(code.clone(), domains)
    };
    let scope = ScopeSpec {
        follow: false,
        mesh: None,
        namespaces: vec!["default".to_owned()],
        listen: "127.0.0.1:10000".parse().unwrap(),
        asks_over_quic: true,
    };
    snapshot(&Plan::default(), &scope, &options)
        .unwrap()
        .snapshot
}

fn plugins(snapshot: &Snapshot) -> Vec<PluginConfig> {
    let plugin = |filter: Filter| {
        let resource = snapshot.get(Kind::Extension, filter.name).unwrap();
        let extension = TypedExtensionConfig::decode(resource.body().clone()).unwrap();
        let any = extension.typed_config.unwrap();
        Wasm::decode(any.value.as_slice()).unwrap().config.unwrap()
    };
    FILTERS.map(plugin).to_vec()
}

fn vm(plugin: &PluginConfig) -> VmConfig {
    let Some(Vm::VmConfig(vm)) = plugin.vm.clone() else {
        panic!("a VM of its own")
    };
    vm
}

#[test]
fn rule_09_modules_are_local_files_or_inline_and_never_remote() {
    let bytes = b"\0asm".to_vec();
    let cases = [
        (
            Code::File(FILE.to_owned()),
            Specifier::Filename(FILE.to_owned()),
        ),
        (
            Code::Inline(bytes.clone().into()),
            Specifier::InlineBytes(bytes),
        ),
    ];
    for (code, expected) in cases {
        for plugin in plugins(&translated(&code)) {
            match vm(&plugin).code.unwrap().specifier.unwrap() {
                Source::Local(local) => assert_eq!(local.specifier, Some(expected.clone())),
                Source::Remote(_) => panic!("Envoy acknowledges it and never fetches it"),
            }
        }
    }
}

#[test]
fn rule_10_a_trap_reloads_the_vm_and_all_modules_share_one_vm_id() {
    for plugin in plugins(&translated(&Code::File(FILE.to_owned()))) {
        assert_eq!(plugin.failure_policy, FailurePolicy::FailReload as i32);
        assert!(plugin.allow_on_headers_stop_iteration.unwrap().value);
        assert_eq!(vm(&plugin).vm_id, "headgate");
    }
}

#[test]
fn buffers_and_windows_are_twice_the_body_limit_and_requests_have_a_timeout() {
    let snapshot = translated(&Code::File(FILE.to_owned()));
    let resource = snapshot.get(Kind::Listener, "headgate").unwrap();
    let listener = Listener::decode(resource.body().clone()).unwrap();
    let twice = 6 << 20;
    let limit = listener.per_connection_buffer_limit_bytes.unwrap();
    assert_eq!(limit.value, twice);
    let Some(ConfigType::TypedConfig(any)) = &listener.filter_chains[0].filters[0].config_type
    else {
        panic!("a typed filter")
    };
    let manager = HttpConnectionManager::decode(any.value.as_slice()).unwrap();
    assert_eq!(manager.request_timeout.unwrap().seconds, 50);
    let http2 = manager.http2_protocol_options.unwrap();
    for window in [
        http2.initial_stream_window_size,
        http2.initial_connection_window_size,
    ] {
        assert_eq!(window.unwrap().value, twice);
    }
}
