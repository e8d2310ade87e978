//! Answers of the APIs of other platforms, as their servers give them.

use super::case::{Case, events, json};
use headgate_dialect::Label;

const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/m:streamGenerateContent";
const COHERE: &str = "/v2/chat";
const OLLAMA: &str = "/api/chat";
const TGI: &str = "/generate";
const LLAMA_CPP: &str = "/completion";

pub(crate) fn answers() -> Vec<Case> {
    vec![
        events(
            "openai responses: reasoning, text that is repeated three times, and a call",
            b"event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"output\":[],\"usage\":null}}\n\n\
            event: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"item_id\":\"rs_1\",\"output_index\":0,\"delta\":\"Greet.\"}\n\n\
            event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_index\":0,\"delta\":\"Hel\"}\n\n\
            event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_index\":0,\"delta\":\"lo, you\"}\n\n\
            event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_index\":0,\"text\":\"Hello, you\"}\n\n\
            event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"fc_1\",\"output_index\":2,\"delta\":\"{\\\"a\\\":1}\"}\n\n\
            event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello, you\"}]}],\"usage\":{\"input_tokens\":30,\"input_tokens_details\":{\"cached_tokens\":10},\"output_tokens\":21,\"output_tokens_details\":{\"reasoning_tokens\":8},\"total_tokens\":51}}}\n\n",
        )
        .to(RESPONSES)
        .used(30, 21)
        .cached(10)
        .reasoning(8)
        .text(6 + 10 + 7)
        .done(),
        json(
            "openai responses: a whole answer without usage",
            br#"{"id":"resp_2","object":"response","status":"completed","error":null,"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"Hm."}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello","annotations":[]}]}],"usage":null}"#,
        )
        .to(RESPONSES)
        .text(3 + 5),
        events(
            "anthropic: thinking, text and a tool's input; every count of a later report replaces the earlier one",
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"usage\":{\"input_tokens\":472,\"cache_creation_input_tokens\":100,\"cache_read_input_tokens\":200,\"cache_creation\":{\"ephemeral_5m_input_tokens\":100},\"output_tokens\":2}}}\n\n\
            event: ping\ndata: {\"type\":\"ping\"}\n\n\
            event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Let me see\"}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"EqQBCgIYAhIM1gbcDa9GJwZA2b3h\"}}\n\n\
            event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Okay, the weather\"}}\n\n\
            event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"get_weather\",\"input\":{}}}\n\n\
            event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"location\\\":\"}}\n\n\
            event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"input_tokens\":500,\"output_tokens\":89}}\n\n\
            event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        )
        .to(MESSAGES)
        .used(800, 89)
        .total(None)
        .parts([200, 100, 0, 0], [0; 3])
        .text(10 + 17 + 11 + 2 + 12)
        .done(),
        events(
            "anthropic: an overloaded server after the head",
            b"event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": \"overloaded_error\", \"message\": \"Overloaded\"}}\n\n",
        )
        .to(MESSAGES)
        .error_only(),
        events(
            "gemini: events with cumulative usage, thoughts beside the candidates",
            b"data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"The \"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 11,\"totalTokenCount\": 11},\"modelVersion\": \"m\"}\r\n\r\n\
            data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"end\"}],\"role\": \"model\"},\"finishReason\": \"STOP\",\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 11,\"cachedContentTokenCount\": 4,\"candidatesTokenCount\": 3,\"thoughtsTokenCount\": 40,\"toolUsePromptTokenCount\": 5,\"totalTokenCount\": 59},\"modelVersion\": \"m\"}\r\n\r\n",
        )
        .to(GEMINI)
        .used(16, 43)
        .cached(4)
        .reasoning(40)
        .text(7)
        .done(),
        json(
            "gemini: a list of chunks",
            br#"[{"candidates":[{"content":{"parts":[{"text":"The "}]}}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":1,"totalTokenCount":12}}
,
{"candidates":[{"content":{"parts":[{"text":"end"},{"functionCall":{"name":"f","args":{"x":1}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":11,"candidatesTokenCount":9,"totalTokenCount":20}}
]"#,
        )
        .to(GEMINI)
        .used(11, 9)
        .text(7 + 27)
        .done(),
        events(
            "cohere: a stream",
            b"event: message-start\ndata: {\"id\":\"29f1\",\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}\n\n\
            event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}\n\n\
            event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"LLM\"}}}}\n\n\
            event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"s are\"}}}}\n\n\
            event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":5,\"output_tokens\":4},\"tokens\":{\"input_tokens\":71,\"output_tokens\":4}}}}\n\n",
        )
        .to(COHERE)
        .used(71, 4)
        .total(None)
        .text(8)
        .done(),
        json(
            "ollama: lines, the last one with the counts",
            b"{\"model\":\"m\",\"created_at\":\"2026-08-04T08:52:19Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Hm\"},\"done\":false}\n\
            {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"The\"},\"done\":false}\n\
            {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,\"total_duration\":4883583458,\"prompt_eval_count\":26,\"eval_count\":282}\n",
        )
        .to(OLLAMA)
        .used(26, 282)
        .total(None)
        .text(2 + 3)
        .done(),
        json(
            "ollama: a prompt that was cached has no count",
            b"{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"The\"},\"done\":true,\"eval_count\":2}\n",
        )
        .to(OLLAMA)
        .used(0, 2)
        .total(None)
        .input(None)
        .text(3)
        .done(),
        events(
            "tgi: tokens, and the whole text in the last event",
            b"data:{\"index\":1,\"token\":{\"id\":13,\"text\":\"Deep \",\"logprob\":-1.1,\"special\":false},\"generated_text\":null,\"details\":null}\n\n\
            data:{\"index\":2,\"token\":{\"id\":14,\"text\":\"learning is\",\"logprob\":-1.1,\"special\":false},\"generated_text\":\"Deep learning is\",\"details\":{\"finish_reason\":\"length\",\"generated_tokens\":20,\"input_length\":4,\"seed\":null}}\n\n",
        )
        .to(TGI)
        .used(4, 20)
        .total(None)
        .text(16)
        .done(),
        events(
            "llama.cpp: a stream",
            b"data: {\"index\":0,\"content\":\" I\",\"tokens\":[306],\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":1,\"tokens_evaluated\":6}\n\n\
            data: {\"index\":0,\"content\":\" am\",\"tokens\":[626],\"stop\":false,\"id_slot\":-1,\"tokens_predicted\":2,\"tokens_evaluated\":6}\n\n\
            data: {\"index\":0,\"content\":\"\",\"tokens\":[],\"id_slot\":0,\"stop\":true,\"model\":\"m\",\"tokens_predicted\":3,\"tokens_evaluated\":6,\"stop_type\":\"limit\",\"timings\":{\"prompt_n\":6,\"predicted_n\":3}}\n\n",
        )
        .to(LLAMA_CPP)
        .used(6, 3)
        .total(None)
        .text(5)
        .done(),
        Case::new(
            "openai speech: sound counts as its base64 would",
            Label::Other,
            &[0xFF; 1300],
        )
        .to("/v1/audio/speech")
        .unread(2),
    ]
}
