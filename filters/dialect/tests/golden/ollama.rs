//! Ollama: requests as its clients send them, and answers as its servers give them.

use super::bad::{self, disagree, range, wrong};
use super::case::{Case, json};
use super::requests::{Request, of_text, request, some};
use headgate_dialect::{Body, Label};

const CHAT: &str = "/api/chat";
const GENERATE: &str = "/api/generate";
const EMBED: &str = "/api/embed";
const EMBEDDINGS: &str = "/api/embeddings";
const SHOW: &str = "/api/show";
const PICTURE: u64 = 765;

pub(crate) fn requests() -> Vec<Request> {
    let tools = r#"[{"type":"function","function":{"name":"tide","parameters":{"type":"object","properties":{"port":{"type":"string"}}}}}]"#;
    let calls = r#"[{"function":{"name":"tide","arguments":{"port":"Cork"}}}]"#;
    vec![
        request(
            "ollama chat of the Python client: tools, a tool's answer, streamed where nothing is said",
            CHAT,
            br#"{"model":"qwen3:8b","messages":[{"role":"system","content":"You know harbours."},{"role":"user","content":"When is high tide in Cork?"},{"role":"assistant","content":"","thinking":"I look it up.","tool_calls":[{"function":{"name":"tide","arguments":{"port":"Cork"}}}]},{"role":"tool","content":"17:42","tool_name":"tide"}],"tools":[{"type":"function","function":{"name":"tide","parameters":{"type":"object","properties":{"port":{"type":"string"}}}}}],"options":{"num_predict":200,"temperature":0.3,"num_ctx":8192,"stop":["<|im_end|>"]},"format":{"type":"object"},"keep_alive":"5m","think":true}"#,
            Body {
                model: some("qwen3:8b"),
                max_tokens: Some(200),
                temperature: Some(300_000),
                stream: Some(true),
                prompt_bytes: ("You know harbours.When is high tide in Cork?I look it up.17:42tide".len()
                    + calls.len()
                    + tools.len()) as u64,
                first_user_message: of_text("When is high tide in Cork?"),
                ..Body::default()
            },
        ),
        request(
            "ollama chat with two pictures, whole",
            CHAT,
            br#"{"model":"llava","stream":false,"messages":[{"role":"user","content":"Which of these is a gull?","images":["iVBORw0KGgo=","/9j/4AAQSkZJRg=="]}],"options":null}"#,
            Body {
                model: some("llava"),
                stream: Some(false),
                prompt_bytes: "Which of these is a gull?".len() as u64,
                prompt_tokens: 2 * PICTURE,
                first_user_message: of_text("Which of these is a gull?"),
                ..Body::default()
            },
        ),
        request(
            "ollama generate of the command line: every field, most of them empty",
            GENERATE,
            br#"{"model":"llama3.2","prompt":"Name a lighthouse.","suffix":"","system":"Be brief.","template":"","context":[128006,882],"format":"","images":[],"options":{"num_predict":-2}}"#,
            Body {
                model: some("llama3.2"),
                stream: Some(true),
                prompt_bytes: "Name a lighthouse.Be brief.[128006,882]".len() as u64,
                first_user_message: of_text("Name a lighthouse."),
                ..Body::default()
            },
        ),
        request(
            "ollama generate: pictures before the prompt, raw, a template, text behind the gap",
            GENERATE,
            br#"{"model":"m","images":["AAAA","BBBB","CCCC"],"raw":true,"template":"{{ .Prompt }}","suffix":"}","prompt":"def f():","options":{"temperature":0,"num_predict":0},"stream":true}"#,
            Body {
                model: some("m"),
                temperature: Some(0),
                stream: Some(true),
                prompt_bytes: "{{ .Prompt }}}def f():".len() as u64,
                prompt_tokens: 3 * PICTURE,
                first_user_message: of_text("def f():"),
                ..Body::default()
            },
        ),
        request(
            "ollama generate that loads a model",
            GENERATE,
            br#"{"model":"m","keep_alive":-1}"#,
            Body {
                model: some("m"),
                stream: Some(true),
                ..Body::default()
            },
        ),
        request(
            "ollama chat without a limit",
            CHAT,
            br#"{"model":"m","options":{"num_predict":-1}}"#,
            Body {
                model: some("m"),
                stream: Some(true),
                ..Body::default()
            },
        ),
        request(
            "ollama embed of a list, whose options do not matter",
            EMBED,
            br#"{"model":"all-minilm","input":["Why is the sky blue?","Why is the grass green?"],"truncate":true,"options":{"num_ctx":512}}"#,
            Body {
                model: some("all-minilm"),
                prompt_bytes: "Why is the sky blue?Why is the grass green?".len() as u64,
                first_user_message: of_text("Why is the sky blue?"),
                ..Body::default()
            },
        ),
        request(
            "ollama embeddings, the older path",
            EMBEDDINGS,
            br#"{"model":"all-minilm","prompt":"Here is an article about llamas"}"#,
            Body {
                model: some("all-minilm"),
                prompt_bytes: "Here is an article about llamas".len() as u64,
                first_user_message: of_text("Here is an article about llamas"),
                ..Body::default()
            },
        ),
        request(
            "ollama show by the current name, the older one empty",
            SHOW,
            br#"{"model":"llama3.2","system":"","template":"","verbose":false,"options":null,"name":""}"#,
            Body {
                model: some("llama3.2"),
                ..Body::default()
            },
        ),
        request(
            "ollama show by the older name",
            SHOW,
            br#"{"name":"llama3.2"}"#,
            Body {
                model: some("llama3.2"),
                ..Body::default()
            },
        ),
        request(
            "ollama show by the older name, the current one empty",
            SHOW,
            br#"{"model":"","name":"llama3.2"}"#,
            Body {
                model: some("llama3.2"),
                ..Body::default()
            },
        ),
    ]
}

pub(crate) fn bad() -> Vec<bad::Case> {
    const WHOLE: &str = "a whole number";
    let rows: Vec<(&str, &'static [u8], _)> = vec![
        (
            CHAT,
            br#"{"options":{"num_predict":"9"}}"#,
            wrong("options.num_predict", WHOLE),
        ),
        (
            CHAT,
            br#"{"options":{"num_predict":10000001}}"#,
            range("options.num_predict", 1, 10_000_000),
        ),
        (CHAT, br#"{"options":[]}"#, wrong("options", "an object")),
        (CHAT, br#"{"options":7}"#, wrong("options", "an object")),
        (
            GENERATE,
            br#"{"options":{"temperature":11}}"#,
            range("options.temperature", 0, 10),
        ),
        (
            GENERATE,
            br#"{"options":{"num_predict":5},"options":{"num_predict":6}}"#,
            disagree("options.num_predict"),
        ),
        (
            CHAT,
            br#"{"stream":"no"}"#,
            wrong("stream", "true or false"),
        ),
        (
            CHAT,
            br#"{"messages":"hi"}"#,
            wrong("messages", "an array of messages"),
        ),
        (
            EMBED,
            br#"{"input":{}}"#,
            wrong("input", "a string, or an array of strings or token ids"),
        ),
        (SHOW, br#"{"name":1}"#, wrong("name", "a string")),
    ];
    bad::rows(rows)
}

const fn lines(name: &'static str, answer: &'static [u8]) -> Case {
    Case::new(name, Label::Other, answer)
}

pub(crate) fn answers() -> Vec<Case> {
    vec![
        lines(
            "ollama chat, streamed",
            b"{\"model\":\"llama3.2\",\"created_at\":\"2025-03-04T08:52:19.385406455Z\",\"message\":{\"role\":\"assistant\",\"content\":\"The\",\"images\":null},\"done\":false}\n{\"model\":\"llama3.2\",\"created_at\":\"2025-03-04T08:52:19.402Z\",\"message\":{\"role\":\"assistant\",\"content\":\" sea\"},\"done\":false}\n{\"model\":\"llama3.2\",\"created_at\":\"2025-03-04T08:52:19.9Z\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,\"total_duration\":4883583458,\"load_duration\":1334875,\"prompt_eval_count\":26,\"prompt_eval_duration\":342546000,\"eval_count\":282,\"eval_duration\":4535599000}\n",
        )
        .to(CHAT)
        .text(7)
        .used(26, 282)
        .total(None)
        .done(),
        lines(
            "ollama chat, cut before its last line",
            b"{\"model\":\"llama3.2\",\"message\":{\"role\":\"assistant\",\"content\":\"The\"},\"done\":false}\n{\"model\":\"llama3.2\",\"message\":{\"role\":\"assistant\",\"content\":\" sea\"},\"done\":false}\n",
        )
        .to(CHAT)
        .text(7),
        lines(
            "ollama chat, cut in its last line before usage",
            b"{\"message\":{\"content\":\"The\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done\":true,\"prompt_eval_count\":26,\"eval_co",
        )
        .to(CHAT)
        .text(3),
        lines(
            "ollama chat whose prompt is in the cache: no count of it, so the estimate stands",
            b"{\"message\":{\"content\":\"Yes\"},\"done\":false}\n{\"message\":{\"content\":\"\"},\"done_reason\":\"stop\",\"done\":true,\"eval_count\":2}\n",
        )
        .to(CHAT)
        .text(3)
        .used(0, 2)
        .input(None)
        .total(None)
        .done(),
        lines(
            "ollama chat with thinking and two tool calls",
            b"{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Hm\"},\"done\":false}\n{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"tide\",\"arguments\":{\"port\":\"Cork\"}}},{\"function\":{\"index\":1,\"name\":\"wind\",\"arguments\":{}}}]},\"done\":false}\n{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"prompt_eval_count\":169,\"eval_count\":15}\n",
        )
        .to(CHAT)
        .text("Hmtide{\"port\":\"Cork\"}wind{}".len() as u64)
        .used(169, 15)
        .total(None)
        .done(),
        json(
            "ollama chat, whole",
            br#"{"model":"llama3.2","created_at":"2025-12-12T14:13:43.416799Z","message":{"role":"assistant","content":"Hello! How are you today?"},"done_reason":"stop","done":true,"total_duration":5191566416,"load_duration":2154458,"prompt_eval_count":26,"prompt_eval_duration":383809000,"eval_count":298,"eval_duration":4799921000}"#,
        )
        .to(CHAT)
        .text(25)
        .used(26, 298)
        .total(None)
        .done(),
        lines(
            "ollama generate, streamed, with the conversation as token ids",
            b"{\"model\":\"llama3.2\",\"created_at\":\"2025-08-04T08:52:19Z\",\"response\":\"Fast\",\"done\":false}\n{\"model\":\"llama3.2\",\"response\":\"net\",\"done\":false}\n{\"model\":\"llama3.2\",\"response\":\"\",\"done\":true,\"done_reason\":\"length\",\"context\":[128006,882,128007],\"prompt_eval_count\":31,\"eval_count\":2}\n",
        )
        .to(GENERATE)
        .text(7)
        .used(31, 2)
        .total(None)
        .done(),
        json(
            "ollama generate that loaded a model",
            br#"{"model":"llama3.2","created_at":"2025-12-18T19:52:07.071755Z","response":"","done":true,"done_reason":"load"}"#,
        )
        .to(GENERATE)
        .done(),
        json("ollama error", br#"{"error":"model 'llama9' not found"}"#)
            .to(CHAT)
            .error_only(),
        lines(
            "ollama error after text",
            b"{\"response\":\"Fast\",\"done\":false}\n{\"error\":\"an error was encountered while running the model: CUDA error\"}\n",
        )
        .to(GENERATE)
        .text(4),
        json(
            "ollama embed",
            br#"{"model":"all-minilm","embeddings":[[0.010071,-0.0017594],[-0.0098,0.06]],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":8}"#,
        )
        .to(EMBED)
        .used(8, 0),
        json(
            "ollama embeddings, without usage",
            br#"{"embedding":[0.5670403838157654,0.009260174818336964]}"#,
        )
        .to(EMBEDDINGS),
    ]
}
