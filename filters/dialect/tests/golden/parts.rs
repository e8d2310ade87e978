//! Parts of the prompt and of the output in usage reports: the cache, reasoning, audio, images.

use super::case::{Case, events, json};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        json(
            "audio and cached tokens inside of the prompt, audio and reasoning inside of the completion",
            br#"{"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":30,"text_tokens":50,"audio_tokens":20},
                "completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":40,"text_tokens":5,
                "accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}"#,
        )
        .used(100, 50)
        .parts([30, 0, 20, 0], [5, 40, 0]),
        json(
            "tokens in two parts belong to the first one",
            br#"{"usage":{"prompt_tokens":100,"completion_tokens":50,
                "prompt_tokens_details":{"image_tokens":90,"audio_tokens":60,"cached_tokens":70},
                "completion_tokens_details":{"image_tokens":9,"audio_tokens":40,"reasoning_tokens":20}}}"#,
        )
        .used(100, 50)
        .parts([70, 0, 30, 0], [20, 30, 0])
        .total(None),
        json(
            "a cache that is written, as OpenRouter reports it",
            br#"{"usage":{"prompt_tokens":1000,"completion_tokens":5,"total_tokens":1005,"cost":0.1,
                "prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":800,"video_tokens":0}}}"#,
        )
        .used(1000, 5)
        .parts([100, 800, 0, 0], [0; 3]),
        json(
            "an image that was generated",
            br#"{"created":1,"data":[],"usage":{"total_tokens":4240,"input_tokens":80,"output_tokens":4160,
                "input_tokens_details":{"text_tokens":30,"image_tokens":50},
                "output_tokens_details":{"image_tokens":4160,"text_tokens":0}}}"#,
        )
        .used(80, 4160)
        .parts([0, 0, 0, 50], [0, 0, 4160]),
        json(
            "a transcription",
            br#"{"text":"","usage":{"type":"tokens","input_tokens":14,"output_tokens":45,"total_tokens":59,
                "input_token_details":{"text_tokens":1,"audio_tokens":13}}}"#,
        )
        .used(14, 45)
        .parts([0, 0, 13, 0], [0; 3]),
        json(
            "a cache inside of the prompt, as LiteLLM repeats Anthropic's counts",
            br#"{"usage":{"prompt_tokens":33,"completion_tokens":9,"total_tokens":42,
                "prompt_tokens_details":{"cached_tokens":20},
                "cache_creation_input_tokens":10,"cache_read_input_tokens":20}}"#,
        )
        .used(33, 9)
        .parts([20, 10, 0, 0], [0; 3]),
        json(
            "details with impossible values do not count",
            br#"{"usage":{"prompt_tokens":10,"completion_tokens":5,
                "prompt_tokens_details":{"cached_tokens":-4,"audio_tokens":2.5,"image_tokens":99999999999},
                "completion_tokens_details":{"reasoning_tokens":"3","audio_tokens":1e99}}}"#,
        )
        .used(10, 5)
        .total(None),
        json(
            "details of a prompt that is not reported",
            br#"{"usage":{"prompt_tokens":0,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        )
        .used(0, 5)
        .input(None)
        .total(None),
        events(
            "a later report without details",
            b"data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":8},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\ndata: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}\n\n",
        )
        .used(9, 5)
        .parts([8, 0, 0, 0], [3, 0, 0])
        .total(None),
        events(
            "a later report of another prompt",
            b"data: {\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":8},\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\ndata: {\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2}}\n\n",
        )
        .used(10, 2)
        .total(None),
    ]
}
