//! A case of an answer.

use headgate_dialect::{Label, Usage};

/// An answer and its expected results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The path of the request.
    pub(crate) path: &'static str,
    pub(crate) label: Label,
    pub(crate) sequences: u64,
    pub(crate) prompts: u64,
    pub(crate) answer: &'static [u8],
    pub(crate) usage: Option<Usage>,
    pub(crate) text_bytes: u64,
    pub(crate) unread_bytes: u64,
    pub(crate) done: bool,
    pub(crate) error_only: bool,
    pub(crate) stale: bool,
}

impl Case {
    pub(crate) const fn new(name: &'static str, label: Label, answer: &'static [u8]) -> Self {
        Self {
            name,
            path: super::CHAT,
            label,
            sequences: 1,
            prompts: 1,
            answer,
            usage: None,
            text_bytes: 0,
            unread_bytes: 0,
            done: false,
            error_only: false,
            stale: false,
        }
    }

    pub(crate) const fn to(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    pub(crate) const fn text(self, text_bytes: u64) -> Self {
        Self { text_bytes, ..self }
    }

    pub(crate) const fn unread(self, unread_bytes: u64) -> Self {
        Self {
            unread_bytes,
            ..self
        }
    }

    pub(crate) const fn done(self) -> Self {
        Self { done: true, ..self }
    }

    pub(crate) const fn error_only(self) -> Self {
        Self {
            error_only: true,
            ..self
        }
    }

    pub(crate) const fn stale(self) -> Self {
        Self {
            stale: true,
            ..self
        }
    }

    pub(crate) const fn sequences(self, sequences: u64) -> Self {
        Self { sequences, ..self }
    }

    pub(crate) const fn prompts(self, prompts: u64) -> Self {
        Self { prompts, ..self }
    }

    /// Prompt and output, and their sum as total.
    pub(crate) const fn used(self, input: u64, output: u64) -> Self {
        self.usage(Usage {
            input: Some(input),
            cached: 0,
            cache_written: 0,
            input_audio: 0,
            input_image: 0,
            output,
            reasoning: 0,
            output_audio: 0,
            output_image: 0,
            total: Some(input + output),
        })
    }

    pub(crate) const fn usage(self, usage: Usage) -> Self {
        Self {
            usage: Some(usage),
            ..self
        }
    }

    pub(crate) const fn cached(self, cached: u64) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { cached, ..usage }),
            None => self,
        }
    }

    pub(crate) const fn reasoning(self, reasoning: u64) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { reasoning, ..usage }),
            None => self,
        }
    }

    /// Parts of the prompt: cached, written to a cache, audio, images; and of the output: reasoning, audio, images.
    pub(crate) const fn parts(self, input: [u64; 4], output: [u64; 3]) -> Self {
        let [cached, cache_written, input_audio, input_image] = input;
        let [reasoning, output_audio, output_image] = output;
        match self.usage {
            Some(usage) => self.usage(Usage {
                cached,
                cache_written,
                input_audio,
                input_image,
                reasoning,
                output_audio,
                output_image,
                ..usage
            }),
            None => self,
        }
    }

    pub(crate) const fn total(self, total: Option<u64>) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { total, ..usage }),
            None => self,
        }
    }

    pub(crate) const fn input(self, input: Option<u64>) -> Self {
        match self.usage {
            Some(usage) => self.usage(Usage { input, ..usage }),
            None => self,
        }
    }
}

pub(crate) const fn json(name: &'static str, answer: &'static [u8]) -> Case {
    Case::new(name, Label::Json, answer)
}

pub(crate) const fn events(name: &'static str, answer: &'static [u8]) -> Case {
    Case::new(name, Label::Events, answer)
}
