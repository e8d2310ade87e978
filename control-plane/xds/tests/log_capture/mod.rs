//! A subscriber that keeps the log lines of a test, with their fields and those of their spans.

#![allow(dead_code, missing_docs, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::Attributes;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Id, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

type Fields = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    pub message: String,
    pub fields: Fields,
    /// The fields of all spans around it.
    pub span: Fields,
}

/// The lines of this crate on this thread, for as long as the guard lives.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    pub fn capture() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let subscriber = tracing_subscriber::registry().with(lines.clone());
        (lines, tracing::subscriber::set_default(subscriber))
    }

    pub fn with_message(&self, message: &str) -> Vec<Line> {
        let lines = self.0.lock().unwrap();
        let matching = lines.iter().filter(|line| line.message == message);
        matching.cloned().collect()
    }

    /// Waits for the `n`-th line with this message.
    pub async fn wait_for(&self, message: &str, n: usize) -> Line {
        loop {
            if let Some(line) = self.with_message(message).get(n - 1) {
                return line.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Recorder(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !event.metadata().target().starts_with("headgate_xds") {
            return;
        }
        let mut fields = Fields::new();
        event.record(&mut Recorder(&mut fields));
        let mut span = Fields::new();
        for of in context.event_scope(event).into_iter().flatten() {
            span.extend(of.extensions().get::<Fields>().cloned().unwrap_or_default());
        }
        self.0.lock().unwrap().push(Line {
            level: *event.metadata().level(),
            message: fields.remove("message").unwrap_or_default(),
            fields,
            span,
        });
    }
}

struct Recorder<'a>(&'a mut Fields);

impl Visit for Recorder<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}
