//! The wording of model servers whose errors are one text: `{"error": "…"}`.

use crate::dialect::{Dialect, Refusal};
use crate::json::{fill, fill_list};

/// The wording of errors. Such servers have no list of models, so the filter answers OpenAI's.
pub(crate) static DIALECT: Dialect = Dialect {
    error,
    models: crate::openai::wording::models,
    model: crate::openai::wording::model,
};

/// Ollama: the same errors, and a list of its own.
pub(crate) static OLLAMA: Dialect = Dialect {
    error,
    models,
    model,
};

fn error(refusal: &Refusal<'_>) -> Vec<u8> {
    fill(r#"{"error":$}"#, &[refusal.message])
}

/// The configuration knows neither date nor size of a model.
const MODEL: &str = r#"{"name":$,"model":$,"modified_at":"1970-01-01T00:00:00Z","size":0,"digest":"","details":{"parent_model":"","format":"","family":"","families":[],"parameter_size":"","quantization_level":""}}"#;

fn models(names: &mut dyn Iterator<Item = &str>) -> Vec<u8> {
    fill_list(r#"{"models":[$]}"#, MODEL, names)
}

fn model(name: &str) -> Vec<u8> {
    fill(MODEL, &[name, name])
}
