//! Answers in the forms of many hosts, with the expected results. They are small, and follow the documentation of the hosts
//! and the reports of their users. Those with `case-` come from operators.

use super::case::Case;
use headgate_dialect::Label;

macro_rules! sse {
    ($name:literal) => {
        Case::new(
            $name,
            Label::Events,
            include_bytes!(concat!("answers/", $name, ".sse")),
        )
    };
}

macro_rules! json {
    ($name:literal) => {
        Case::new(
            $name,
            Label::Json,
            include_bytes!(concat!("answers/", $name, ".json")),
        )
    };
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        // OpenAI
        sse!("openai-chat")
            .text(28)
            .used(19, 10)
            .cached(4)
            .reasoning(2)
            .done(),
        sse!("openai-chat-unasked").text(28).done(),
        json!("openai-chat")
            .text(28)
            .used(19, 10)
            .cached(4)
            .reasoning(2)
            .done(),
        sse!("openai-tools-parallel").text(30).done(),
        json!("openai-tools-custom").text(14).used(9, 7).done(),
        json!("openai-function-call").text(17).used(30, 8).done(),
        json!("openai-refusal").text(26).used(11, 8).done(),
        sse!("openai-chat-n2")
            .sequences(2)
            .text(13)
            .used(8, 3)
            .done(),
        json!("openai-audio")
            .text(18)
            .used(20, 14)
            .parts([0; 4], [0, 10, 0])
            .done(),
        sse!("openai-audio-cut").text(14),
        sse!("openai-completions").text(7).used(3, 2).done(),
        json!("openai-error").error_only(),
        json!("openai-embeddings").to(super::EMBEDDINGS).used(8, 0),
        sse!("openai-moderated-cut").text(9),
        // Azure OpenAI
        sse!("azure-chat").text(9).used(14, 3).done(),
        sse!("azure-chat-unasked").text(9).done(),
        json!("azure-filtered").error_only(),
        // vLLM
        sse!("vllm-continuous").text(13).used(43, 4).done(),
        sse!("vllm-continuous-cut").text(13).used(43, 3),
        sse!("vllm-reasoning").text(10).done(),
        sse!("vllm-reasoning-renamed").text(10).done(),
        json!("vllm-chat").text(17).used(12, 9).done(),
        json!("vllm-nan").unread(297),
        sse!("vllm-error").done().error_only(),
        json!("vllm-error-old").error_only(),
        // SGLang
        sse!("sglang-chat").text(8).used(21, 5).reasoning(2).done(),
        json!("sglang-chat").text(8).used(21, 5).cached(16).done(),
        // Text Generation Inference
        sse!("tgi-chat").text(9).used(15, 3).done(),
        sse!("tgi-overloaded").error_only(),
        json!("tgi-tool-object").text(36).used(80, 20).done(),
        // llama.cpp
        sse!("llamacpp-chat").text(6).used(37, 35).done(),
        sse!("llamacpp-timings")
            .text(6)
            .used(37, 35)
            .cached(36)
            .total(None)
            .done(),
        sse!("llamacpp-timings-old")
            .text(6)
            .used(0, 35)
            .input(None)
            .total(None)
            .done(),
        sse!("llamacpp-progress-cut").text(1),
        sse!("llamacpp-error-line").error_only(),
        // LM Studio
        sse!("lmstudio-chat").text(8).used(6, 2).done(),
        json!("lmstudio-stats").text(8).used(6, 2).done(),
        sse!("lmstudio-error").error_only(),
        // Ollama
        sse!("ollama-chat").text(9).used(17, 9).done(),
        json!("ollama-chat").text(9).used(17, 9).done(),
        // Groq
        sse!("groq-chat").text(8).used(23, 19).done(),
        sse!("groq-chat-asked").text(8).used(23, 19).done(),
        json!("groq-failed-generation").text(27),
        sse!("groq-error-event").error_only(),
        // xAI
        json!("xai-reasoning")
            .text(7)
            .used(32, 103)
            .cached(5)
            .reasoning(94)
            .done(),
        sse!("xai-reasoning")
            .text(7)
            .used(32, 103)
            .reasoning(94)
            .done(),
        // Gemini, OpenAI endpoint
        sse!("gemini-chat").text(10).used(7, 43).done(),
        sse!("gemini-chat-cut").text(10).used(7, 43),
        json!("gemini-error").error_only(),
        // Mistral
        sse!("mistral-magistral").text(19).used(10, 11).done(),
        json!("mistral-magistral").text(19).used(10, 11).done(),
        sse!("mistral-magistral-cut").text(10),
        // DeepSeek
        sse!("deepseek-reasoner")
            .text(8)
            .used(64, 30)
            .reasoning(25)
            .done(),
        json!("deepseek-chat").text(3).used(64, 3).cached(64).done(),
        // Moonshot
        sse!("moonshot-chat").text(9).used(19, 13).cached(10).done(),
        sse!("moonshot-chat-asked")
            .text(9)
            .used(19, 13)
            .cached(10)
            .done(),
        // Together
        sse!("together-chat").text(10).used(9, 3).done(),
        sse!("together-chat-cut").text(10),
        // Fireworks
        sse!("fireworks-chat").text(9).used(12, 3).done(),
        json!("fireworks-tools")
            .text(10)
            .used(120, 14)
            .cached(119)
            .done(),
        // Perplexity
        sse!("perplexity-sonar").text(21).used(5, 5).done(),
        sse!("perplexity-sonar-cut").text(13).used(5, 3),
        json!("perplexity-deep")
            .text(11)
            .used(33, 71)
            .reasoning(71)
            .done(),
        sse!("perplexity-error").error_only(),
        // OpenRouter
        sse!("openrouter-reasoning")
            .text(15)
            .used(16, 8)
            .reasoning(4)
            .done(),
        sse!("openrouter-details-cut").text(18),
        json!("openrouter-summary")
            .text(25)
            .used(16, 40)
            .reasoning(30)
            .done(),
        sse!("openrouter-error-midstream").text(2),
        sse!("openrouter-error-first").error_only(),
        // Cerebras
        sse!("cerebras-chat").text(5).used(41, 2).done(),
        sse!("cerebras-error").done().error_only(),
        // SambaNova
        sse!("sambanova-chat").text(8).used(33, 3).done(),
        sse!("sambanova-error").error_only(),
        // DashScope
        sse!("dashscope-chat").text(6).used(22, 3).done(),
        sse!("dashscope-cumulative").text(14).done(),
        sse!("dashscope-cumulative-cut").text(10),
        sse!("dashscope-omni").text(10).done(),
        // Zhipu
        sse!("zhipu-chat").text(9).used(13, 22).cached(2).done(),
        json!("zhipu-error").error_only(),
        // MiniMax
        sse!("minimax-chat").text(20).used(70, 10).done(),
        sse!("minimax-split-cumulative")
            .text(20)
            .used(70, 10)
            .done(),
        sse!("minimax-cut").text(13),
        sse!("minimax-total-only")
            .text(20)
            .used(0, 0)
            .input(None)
            .total(Some(80))
            .done(),
        json!("minimax-error").error_only(),
        // Baseten
        sse!("baseten-chat").text(8).used(20, 3).done(),
        // Cloudflare Workers AI
        sse!("cloudflare-response").text(10).used(28, 3).done(),
        sse!("cloudflare-chat").text(10).used(28, 3).done(),
        json!("cloudflare-envelope").text(26).used(28, 3),
        json!("cloudflare-error").error_only(),
        // Hosted routers and gateways
        sse!("huggingface-text-and-delta").text(8).done(),
        sse!("ragflow-final-again").text(47).used(3, 12).done(),
        json!("rwkv-prompt-zero")
            .text(11)
            .used(0, 500)
            .input(None)
            .total(Some(500))
            .done(),
        sse!("opencode-trailing-cost").text(2).used(10, 2).done(),
        json!("databricks-error").error_only(),
        sse!("litellm-event-types").text(2).used(4, 1).done(),
        json!("ndjson-lines").text(4).used(4, 1).done(),
        json!("events-labelled-json").text(3).used(4, 1).done(),
        sse!("document-labelled-events").text(3).used(4, 1).done(),
        sse!("cr-line-ends").text(7).used(4, 2).done(),
        // Cases of users
        json!("case-01-reasoning-outside")
            .text(9)
            .used(32, 103)
            .reasoning(94)
            .done(),
        sse!("case-01-reasoning-outside")
            .text(9)
            .used(32, 103)
            .reasoning(94)
            .done(),
        sse!("case-02-content-blocks").text(275).done(),
        sse!("case-02-content-blocks-cut").text(186),
        sse!("case-03-usage-in-choice")
            .text(270)
            .used(900, 700)
            .done(),
        sse!("case-04-zero-usage-until-the-end")
            .text(270)
            .used(1000, 57)
            .done(),
        sse!("case-04-zero-usage-cut").text(193),
        sse!("case-05-prompt-zero")
            .text(270)
            .used(0, 57)
            .input(None)
            .total(Some(57))
            .done(),
        sse!("case-06-cumulative-deltas").text(690).done(),
        sse!("case-07-reasoning-details").text(270),
        sse!("case-07-reasoning-details-cut").text(186),
        sse!("case-08-error-only").done().error_only(),
        sse!("case-08-error-only-no-done").error_only(),
        sse!("case-18-responses").text(130).used(11, 23),
        sse!("case-19-text-and-delta").text(270).done(),
    ]
}
