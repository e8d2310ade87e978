//! Messages with maps that are encoded in order.
//!
//! The generated types keep protobuf maps in hash maps, so two encodings of equal content may differ. A version is a hash of the bytes, so
//! equal content must give equal bytes. The few messages with more than one map entry are mirrored here with ordered maps, and appended
//! to their parents field by field, because protobuf messages concatenate.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::config::endpoint::v3::Endpoint;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtProvider, JwtRequirement,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::StringMatcher;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

/// `xds.type.matcher.v3.Matcher`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Matcher {
    #[prost(message, optional, boxed, tag = "3")]
    pub on_no_match: Option<Box<OnMatch>>,
    #[prost(message, optional, tag = "1")]
    pub list: Option<MatcherList>,
    #[prost(message, optional, boxed, tag = "2")]
    pub tree: Option<Box<MatcherTree>>,
}

/// `xds.type.matcher.v3.Matcher.OnMatch`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OnMatch {
    #[prost(message, optional, boxed, tag = "1")]
    pub matcher: Option<Box<Matcher>>,
    #[prost(message, optional, tag = "2")]
    pub action: Option<TypedExtensionConfig>,
}

/// `xds.type.matcher.v3.Matcher.MatcherTree`, the exact-match form.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MatcherTree {
    #[prost(message, optional, tag = "1")]
    pub input: Option<TypedExtensionConfig>,
    #[prost(message, optional, tag = "2")]
    pub exact_match_map: Option<MatchMap>,
}

/// `xds.type.matcher.v3.Matcher.MatcherTree.MatchMap`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MatchMap {
    #[prost(btree_map = "string, message", tag = "1")]
    pub map: BTreeMap<String, OnMatch>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MatcherList {
    #[prost(message, repeated, tag = "1")]
    pub matchers: Vec<FieldMatcher>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldMatcher {
    #[prost(message, optional, tag = "1")]
    pub predicate: Option<Predicate>,
    #[prost(message, optional, tag = "2")]
    pub on_match: Option<OnMatch>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Predicate {
    #[prost(message, optional, tag = "1")]
    pub single: Option<SinglePredicate>,
    #[prost(message, optional, tag = "2")]
    pub any_of: Option<PredicateList>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PredicateList {
    #[prost(message, repeated, tag = "1")]
    pub predicate: Vec<Predicate>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SinglePredicate {
    #[prost(message, optional, tag = "1")]
    pub input: Option<TypedExtensionConfig>,
    #[prost(message, optional, tag = "2")]
    pub value_match: Option<StringMatcher>,
}

/// `envoy.config.core.v3.Metadata`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    #[prost(btree_map = "string, message", tag = "1")]
    pub filter_metadata: BTreeMap<String, Struct>,
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Text>,
}

/// `google.protobuf.Value` holding a string.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Text {
    #[prost(string, optional, tag = "3")]
    pub string_value: Option<String>,
}

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LoadAssignment {
    #[prost(string, tag = "1")]
    pub cluster_name: String,
    #[prost(message, repeated, tag = "2")]
    pub endpoints: Vec<LocalityEndpoints>,
}

/// `envoy.config.endpoint.v3.LocalityLbEndpoints`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LocalityEndpoints {
    #[prost(message, optional, tag = "1")]
    pub locality: Option<Locality>,
    #[prost(message, repeated, tag = "2")]
    pub lb_endpoints: Vec<LbEndpoint>,
    #[prost(message, optional, tag = "3")]
    pub load_balancing_weight: Option<UInt32Value>,
}

/// `envoy.config.endpoint.v3.LbEndpoint`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LbEndpoint {
    #[prost(message, optional, tag = "1")]
    pub endpoint: Option<Endpoint>,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<Metadata>,
}

impl Metadata {
    /// Adds the same fields under a second metadata namespace.
    pub(crate) fn also_as(mut self, name: &str) -> Self {
        let ours = self.filter_metadata.get(headgate_contract::names::METADATA);
        let ours = ours.cloned().unwrap_or_default();
        self.filter_metadata.insert(name.to_owned(), ours);
        self
    }

    /// Headgate's metadata with these fields.
    pub(crate) fn ours<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        let fields = pairs
            .into_iter()
            .map(|(key, value)| {
                let text = Text {
                    string_value: Some(value.to_owned()),
                };
                (key.to_owned(), text)
            })
            .collect();
        Self {
            filter_metadata: BTreeMap::from([(
                headgate_contract::names::METADATA.to_owned(),
                Struct { fields },
            )]),
        }
    }
}

/// The settings of filters in `envoy.config.route.v3.VirtualHost`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FilterConfigs {
    #[prost(btree_map = "string, message", tag = "15")]
    pub typed_per_filter_config: BTreeMap<String, Any>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct JwtAuthentication {
    #[prost(btree_map = "string, message", tag = "1")]
    pub providers: BTreeMap<String, JwtProvider>,
    #[prost(bool, tag = "4")]
    pub bypass_cors_preflight: bool,
    #[prost(btree_map = "string, message", tag = "5")]
    pub requirement_map: BTreeMap<String, JwtRequirement>,
}

/// Appends `message`, encoded, as field `tag` of the message in `buffer`.
pub(crate) fn append(buffer: &mut Vec<u8>, tag: u32, message: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(message.len() as u64, buffer);
    buffer.extend_from_slice(message);
}

/// An extension with this name and message.
pub(crate) fn extension(name: &str, message: Any) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(message),
    }
}
