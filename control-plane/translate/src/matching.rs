//! Builders of the generic matchers in route tables.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::r#type::matcher::v3::HttpRequestHeaderMatchInput;
use envoy_types::pb::xds::core::v3::TypedExtensionConfig;
use envoy_types::pb::xds::r#type::matcher::v3::regex_matcher::{EngineType, GoogleRe2};
use envoy_types::pb::xds::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::xds::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::util::pack_any;

use crate::ordered::{
    FieldMatcher, MatchMap, Matcher, MatcherList, MatcherTree, OnMatch, Predicate, PredicateList,
    SinglePredicate, extension,
};

/// A matcher with a branch for each value of a header.
pub(crate) fn tree(name: &str, map: BTreeMap<String, OnMatch>, otherwise: OnMatch) -> Matcher {
    // Envoy rejects an empty map.
    if map.is_empty() {
        return Matcher {
            on_no_match: Some(Box::new(otherwise)),
            ..Matcher::default()
        };
    }
    Matcher {
        list: None,
        tree: Some(Box::new(MatcherTree {
            input: Some(header(name)),
            exact_match_map: Some(MatchMap { map }),
        })),
        on_no_match: Some(Box::new(otherwise)),
    }
}

/// A matcher that takes the branch of the first predicate that holds.
pub(crate) fn first_of(
    cases: impl IntoIterator<Item = (Predicate, OnMatch)>,
    otherwise: OnMatch,
) -> Matcher {
    let matchers = cases.into_iter().map(|(predicate, on_match)| FieldMatcher {
        predicate: Some(predicate),
        on_match: Some(on_match),
    });
    Matcher {
        list: Some(MatcherList {
            matchers: matchers.collect(),
        }),
        tree: None,
        on_no_match: Some(Box::new(otherwise)),
    }
}

/// A matcher as a branch of another one.
pub(crate) fn nested(matcher: Matcher) -> OnMatch {
    OnMatch {
        matcher: Some(Box::new(matcher)),
        action: None,
    }
}

/// One of the predicates holds. Envoy rejects a list of one.
pub(crate) fn any_of(mut predicate: Vec<Predicate>) -> Predicate {
    match (predicate.len(), predicate.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            predicate.extend(last);
            Predicate {
                single: None,
                any_of: Some(PredicateList { predicate }),
            }
        }
    }
}

/// A header has exactly this value.
pub(crate) fn is(name: &str, value: &str) -> Predicate {
    when(name, MatchPattern::Exact(value.to_owned()))
}

/// A header begins with this prefix.
pub(crate) fn begins(name: &str, prefix: &str) -> Predicate {
    when(name, MatchPattern::Prefix(prefix.to_owned()))
}

/// A header is present and not empty.
pub(crate) fn is_present(name: &str) -> Predicate {
    matches(name, ".+")
}

/// The whole value of a header matches a regular expression.
pub(crate) fn matches(name: &str, regex: &str) -> Predicate {
    let regex = RegexMatcher {
        regex: regex.to_owned(),
        engine_type: Some(EngineType::GoogleRe2(GoogleRe2 {})),
    };
    when(name, MatchPattern::SafeRegex(regex))
}

fn when(name: &str, pattern: MatchPattern) -> Predicate {
    input_is(header(name), pattern)
}

/// A predicate on any input.
pub(crate) fn input_is(input: TypedExtensionConfig, pattern: MatchPattern) -> Predicate {
    Predicate {
        single: Some(SinglePredicate {
            input: Some(input),
            value_match: Some(StringMatcher {
                match_pattern: Some(pattern),
                ..StringMatcher::default()
            }),
        }),
        any_of: None,
    }
}

fn header(name: &str) -> TypedExtensionConfig {
    extension(
        name,
        pack_any(HttpRequestHeaderMatchInput {
            header_name: name.to_owned(),
        }),
    )
}
