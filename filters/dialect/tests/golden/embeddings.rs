//! Embeddings: requests as clients send them, and answers as servers give them.

use super::EMBEDDINGS;
use super::case::{Case, json};
use super::requests::{self, Request, of_ids, of_text};
use headgate_dialect::{Body, Label, SessionFields};

const PICTURE: u64 = 765;

pub(crate) fn requests() -> Vec<Request> {
    let food = "The food was delicious and the waiter was very friendly.";
    let model = requests::some;
    let request = |name, body, facts| super::requests::request(name, EMBEDDINGS, body, facts);
    vec![
        request(
            "openai embeddings: a list of strings, which generates nothing",
            include_bytes!("../transcripts/openai-embeddings-request.json"),
            Body {
                model: model("text-embedding-3-small"),
                prompt_bytes: (food.len() + "Frühling 🙂".len()) as u64,
                session: SessionFields {
                    user: model("ada"),
                    ..SessionFields::default()
                },
                first_user_message: of_text(food),
                ..Body::default()
            },
        ),
        request(
            "langchain embeddings: lists of token ids, which count exactly",
            include_bytes!("../transcripts/langchain-embeddings-tokens-request.json"),
            Body {
                model: model("text-embedding-ada-002"),
                prompt_tokens: 12,
                first_user_message: of_ids(&[9906, 1917]),
                ..Body::default()
            },
        ),
        request(
            "vllm embeddings: messages with a picture",
            include_bytes!("../transcripts/vllm-embeddings-chat-request.json"),
            Body {
                model: model("TIGER-Lab/VLM2Vec-Full"),
                prompt_bytes: "Represent the given image.{{ messages }}".len() as u64,
                prompt_tokens: PICTURE,
                first_user_message: of_text("Represent the given image."),
                ..Body::default()
            },
        ),
        request(
            "jina embeddings: objects with a text or a picture",
            include_bytes!("../transcripts/jina-embeddings-request.json"),
            Body {
                model: model("jina-embeddings-v4"),
                prompt_bytes: "A beach at sunset".len() as u64,
                prompt_tokens: 2 * PICTURE,
                first_user_message: of_text("A beach at sunset"),
                ..Body::default()
            },
        ),
        request(
            "embeddings of one string",
            br#"{"input":"h\u00e9llo","model":"m"}"#,
            Body {
                model: model("m"),
                prompt_bytes: 6,
                first_user_message: of_text("héllo"),
                ..Body::default()
            },
        ),
        request(
            "embeddings of one list of token ids",
            br#"{"input":[1,2,3],"model":"m"}"#,
            Body {
                model: model("m"),
                prompt_tokens: 3,
                first_user_message: of_ids(&[1, 2, 3]),
                ..Body::default()
            },
        ),
        request(
            "embeddings of a mixed list, as llama.cpp accepts it",
            br#"{"input":["ab",[1,2],3,4,"cd",{"text":"ef"}]}"#,
            Body {
                prompt_bytes: 6,
                prompt_tokens: 4,
                first_user_message: of_text("ab"),
                ..Body::default()
            },
        ),
        request(
            "embeddings of ids before a text: both count",
            br#"{"input":[1,2,3,"abcd"]}"#,
            Body {
                prompt_bytes: 4,
                prompt_tokens: 3,
                first_user_message: of_ids(&[1, 2, 3]),
                ..Body::default()
            },
        ),
        request(
            "embeddings of llama.cpp's `content`",
            br#"{"content":"abcdef"}"#,
            Body {
                prompt_bytes: 6,
                ..Body::default()
            },
        ),
        request(
            "embeddings ignore what only chats and completions have, whatever its type",
            br#"{"input":[],"prompt":7,"max_tokens":"x","n":-1,"stream":"yes","stream_options":{"include_usage":false},
                "tools":[1],"temperature":99,"dimensions":"x"}"#,
            Body::default(),
        ),
    ]
}

macro_rules! answer {
    ($name:literal) => {
        json($name, include_bytes!(concat!("answers/", $name, ".json"))).to(EMBEDDINGS)
    };
}

pub(crate) fn answers() -> Vec<Case> {
    let binary: &[u8] = b"\x00\x00\x80\x3f{\"choices\"\xcd\xcc\xcc\x3d";
    vec![
        answer!("openai-embeddings-base64").used(15, 0),
        answer!("vllm-embeddings").used(11, 0),
        answer!("vllm-embeddings-cached").used(11, 0).cached(8),
        answer!("tei-embeddings").used(12, 0),
        answer!("ollama-embeddings").used(8, 0),
        answer!("llamacpp-embeddings").used(6, 0),
        answer!("mistral-embeddings").used(33, 0),
        // Only the prompt, or only the total.
        answer!("deepinfra-embeddings-prompt-only").used(5, 0),
        answer!("jina-embeddings").used(9, 0),
        answer!("voyage-embeddings-pictures").used(3576, 0),
        // No report: the estimate of the request stands.
        answer!("ollama-embeddings-zero"),
        answer!("opea-embeddings-no-usage"),
        answer!("llamacpp-embeddings-content").unread(47),
        Case::new("vllm's `encoding_format: bytes`", Label::Other, binary)
            .to(EMBEDDINGS)
            .unread(18),
        // Errors.
        answer!("openai-embeddings-error").error_only(),
        answer!("tei-embeddings-error").error_only(),
        json(
            "vectors with a code and a message are not an error",
            br#"{"code":1,"message":"ok","data":[{"embedding":[0.1]}]}"#,
        )
        .to(EMBEDDINGS),
        // Reports.
        json(
            "output is input where nothing is generated",
            br#"{"data":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#,
        )
        .to(EMBEDDINGS)
        .used(7, 0),
        json(
            "more tokens than a context window has: there are many inputs",
            br#"{"data":[],"usage":{"prompt_tokens":16000000,"total_tokens":16000000}}"#,
        )
        .to(EMBEDDINGS)
        .used(16_000_000, 0),
        json(
            "a count that cannot be true",
            br#"{"data":[],"usage":{"prompt_tokens":-5,"total_tokens":7}}"#,
        )
        .to(EMBEDDINGS),
        json(
            "cut within the vectors",
            br#"{"usage":{"prompt_tokens":5,"total_tokens":5},"data":[{"embedding":[0.1,0"#,
        )
        .to(EMBEDDINGS)
        .used(5, 0),
        json(
            "text in the place of a chat's is not read as output",
            br#"{"data":{"choices":[{"message":{"content":"abc"}}]},"usage":{"prompt_tokens":5}}"#,
        )
        .to(EMBEDDINGS)
        .used(5, 0),
    ]
}
