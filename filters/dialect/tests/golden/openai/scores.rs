//! Operations that generate nothing: rerank, score, pooling, classify, moderations, tokenize.

use super::super::case::{Case, json};
use super::super::requests::{Request, of_text, some};
use super::{PICTURE, request};
use headgate_dialect::{Body, SessionFields};

const RERANK: &str = "/v1/rerank";
const SCORE: &str = "/v1/score";
const MODERATIONS: &str = "/v1/moderations";

pub(super) fn requests() -> Vec<Request> {
    vec![
        request(
            "jina rerank: a query and documents",
            RERANK,
            br#"{"model":"jina-reranker-v2","query":"tides","documents":["High at six.",{"text":"Low at noon."}],"top_n":1,"return_documents":false}"#,
            Body {
                model: some("jina-reranker-v2"),
                prompt_bytes: r#"tides["High at six.",{"text":"Low at noon."}]"#.len() as u64,
                ..Body::default()
            },
        ),
        request(
            "vllm score: a text and a list",
            SCORE,
            br#"{"model":"bge","text_1":"a\u00e9","text_2":["b","c"],"user":"u"}"#,
            Body {
                model: some("bge"),
                prompt_bytes: (3 + r#"["b","c"]"#.len()) as u64,
                session: SessionFields {
                    user: some("u"),
                    ..SessionFields::default()
                },
                ..Body::default()
            },
        ),
        request(
            "vllm score under its newer names",
            SCORE,
            br#"{"model":"bge","queries":"q","documents":["d"],"data_1":"x","data_2":"y"}"#,
            Body {
                model: some("bge"),
                prompt_bytes: (3 + r#"["d"]"#.len()) as u64,
                ..Body::default()
            },
        ),
        request(
            "moderation of a text and a picture",
            MODERATIONS,
            br#"{"model":"omni-moderation-latest","input":[{"type":"text","text":"Is this kind?"},{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}"#,
            Body {
                model: some("omni-moderation-latest"),
                prompt_bytes: "Is this kind?".len() as u64,
                prompt_tokens: PICTURE,
                first_user_message: of_text("Is this kind?"),
                ..Body::default()
            },
        ),
        request(
            "vllm pooling: token ids",
            "/v1/pooling",
            br#"{"model":"m","input":[[1,2],[3]],"encoding_format":"base64"}"#,
            Body {
                model: some("m"),
                prompt_tokens: 3,
                first_user_message: super::super::requests::of_ids(&[1, 2]),
                ..Body::default()
            },
        ),
        request(
            "vllm tokenize: only the model is read",
            "/v1/tokenize",
            br#"{"model":"m","prompt":7,"messages":"x","user":[]}"#,
            Body {
                model: some("m"),
                ..Body::default()
            },
        ),
    ]
}

pub(super) fn answers() -> Vec<Case> {
    vec![
        json(
            "vllm rerank",
            br#"{"id":"rerank-1","model":"bge","usage":{"prompt_tokens":50,"total_tokens":56},"results":[{"index":1,"document":{"text":"Low","multi_modal":null},"relevance_score":0.99}]}"#,
        )
        .to(RERANK)
        .used(56, 0),
        json(
            "jina rerank: only the total",
            br#"{"model":"jina-reranker-v2","object":"list","usage":{"total_tokens":38},"results":[{"index":0,"relevance_score":0.8}]}"#,
        )
        .to(RERANK)
        .used(38, 0),
        json(
            "llama.cpp rerank: zeros are no report",
            br#"{"model":"m","object":"list","usage":{"prompt_tokens":0,"total_tokens":0},"results":[]}"#,
        )
        .to(RERANK),
        json(
            "vllm score",
            br#"{"id":"score-1","object":"list","created":1,"model":"m","data":[{"index":0,"object":"score","score":1}],"usage":{"prompt_tokens":9,"total_tokens":9,"completion_tokens":0,"prompt_tokens_details":null}}"#,
        )
        .to(SCORE)
        .used(9, 0),
        json(
            "vllm classify",
            br#"{"id":"classify-1","object":"list","data":[{"index":0,"label":"calm","probs":[0.2,0.8],"num_classes":2}],"usage":{"prompt_tokens":7,"total_tokens":7}}"#,
        )
        .to("/v1/classify")
        .used(7, 0),
        json(
            "moderation: no usage",
            br#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false,"categories":{"violence":false},"category_scores":{"violence":0.01}}]}"#,
        )
        .to(MODERATIONS),
        json(
            "rerank of a model without one",
            br#"{"error":{"message":"The model does not support rerank","type":"BadRequestError","param":null,"code":400}}"#,
        )
        .to(RERANK)
        .error_only(),
        json("rerank, cut within the results", br#"{"results":[{"index":0"#)
            .to(RERANK)
            .unread(22),
    ]
}
