//! An operation of an API, as data.

use crate::endpoint::Endpoint;

/// An API. The paths of some are ordinary words, such as `/generate`: these count only where a policy enables them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI, and the servers and hosts that follow it. Azure's paths belong to it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Gemini.
    Gemini,
    /// Cohere.
    Cohere,
    /// The Open Inference Protocol, over REST and gRPC, with Triton's additions.
    OpenInference,
    /// KServe's first protocol: `:predict` and `:explain`.
    KServe,
    /// Headgate's own path `/infer`.
    Infer,
    /// Ollama. To be enabled.
    Ollama,
    /// Text Generation Inference. To be enabled.
    Tgi,
    /// llama.cpp's own paths. To be enabled.
    LlamaCpp,
    /// SGLang's own paths. To be enabled.
    SgLang,
    /// vLLM's paths without `/v1`. To be enabled.
    Vllm,
}

impl Api {
    /// Whether requests name their model in the body or the path. If not, a namespace with one model needs no `x-model`.
    #[must_use]
    pub fn names_model(self) -> bool {
        !matches!(self, Self::Tgi | Self::LlamaCpp | Self::SgLang)
    }

    /// A row of the table: an operation of this API.
    pub(crate) const fn row(
        self,
        name: &'static str,
        method: &'static str,
        pattern: &'static str,
        access: Access,
        endpoint: &'static Endpoint,
    ) -> Operation {
        Operation {
            name,
            api: self,
            method,
            pattern,
            access,
            endpoint,
        }
    }
}

/// A set of APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apis(u16);

impl Apis {
    /// The APIs that need not be enabled.
    pub const STANDARD: Self = Self((1 << Api::Ollama as u16) - 1);
    /// Every API.
    pub const ALL: Self = Self(u16::MAX);

    /// This set and one more API.
    #[must_use]
    pub fn with(self, api: Api) -> Self {
        Self(self.0 | 1 << api as u16)
    }

    /// Both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether an API belongs to the set.
    #[must_use]
    pub fn has(self, api: Api) -> bool {
        self.0 & 1 << api as u16 != 0
    }
}

/// The treatment of an operation by the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A request to a model. It is charged.
    Charged,
    /// It goes to a model, and is not charged.
    Free,
    /// It changes the server, or what is stored there. Refused unless a policy allows it by its name; then it is not charged.
    Management,
    /// The filter answers it: the list of the models, or one of them.
    Models,
}

/// An operation of an API. It is data, and there is one static for each.
#[derive(Debug)]
pub struct Operation {
    /// Its name, such as `openai.chat`. Names are unique, except that the methods and paths of one operation share it.
    pub name: &'static str,
    /// The API.
    pub api: Api,
    /// The method; `*` for every method. `GET` includes `HEAD`.
    pub method: &'static str,
    /// The path. `{model}` and `{rest}` may have slashes; every other name in braces is one segment.
    pub pattern: &'static str,
    /// Its treatment by the filter.
    pub access: Access,
    /// How its requests and answers are read, and how it is refused.
    pub endpoint: &'static Endpoint,
}

impl Operation {
    /// Whether its path names the model. The model in the body is then ignored.
    #[must_use]
    pub fn path_names_model(&self) -> bool {
        self.pattern.contains("{model}")
    }

    /// Whether a request with this method is one of the operation.
    pub(crate) fn accepts(&self, method: &[u8]) -> bool {
        match self.method {
            "*" => true,
            "GET" => matches!(method, b"GET" | b"HEAD"),
            known => known.as_bytes() == method,
        }
    }

    /// The methods that its path accepts, as in the header `allow`.
    pub(crate) fn allow(&self) -> &'static str {
        match self.method {
            "GET" => "GET, HEAD",
            method => method,
        }
    }
}

/// Statics, so one operation has one address.
impl PartialEq for Operation {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Operation {}
