//! Bodies as the libraries of clients write them.

use super::{PICTURE, PICTURES, Request, SOUND, named};
use headgate_dialect::{Body, SessionFields};

/// A text whose lines end with CRLF.
fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

fn sound(prompt_bytes: u64, temperature: Option<u64>) -> Body {
    Body {
        prompt_bytes,
        prompt_tokens: 1,
        temperature,
        ..named("whisper-1")
    }
}

#[test]
fn transcriptions_of_many_clients() {
    let httpx = crlf(
        "--f1c0a8d2b3e4f5a6978879605142334a
Content-Disposition: form-data; name=\"model\"

whisper-1
--f1c0a8d2b3e4f5a6978879605142334a
Content-Disposition: form-data; name=\"prompt\"

Tides of Cork
--f1c0a8d2b3e4f5a6978879605142334a
Content-Disposition: form-data; name=\"temperature\"

0.2
--f1c0a8d2b3e4f5a6978879605142334a
Content-Disposition: form-data; name=\"timestamp_granularities[]\"

word
--f1c0a8d2b3e4f5a6978879605142334a
Content-Disposition: form-data; name=\"file\"; filename=\"harbour.mp3\"
Content-Type: audio/mpeg

ID3\u{4}
--f1c0a8d2b3e4f5a6978879605142334a--
",
    );
    let undici = crlf(
        "------formdata-undici-093512374658
Content-Disposition: form-data; name=\"file\"; filename=\"harbour; high.mp3\"
Content-Type: application/octet-stream

ID3\u{4}
------formdata-undici-093512374658
Content-Disposition: form-data; name=\"model\"

whisper-1
------formdata-undici-093512374658
Content-Disposition: form-data; name=\"temperature\"

0
------formdata-undici-093512374658--",
    );
    let curl = crlf(
        "--------------------------d74496d66958873e
Content-Disposition: form-data; name=\"file\"; filename=\"say \\\"tide\\\".mp3\"
Content-Type: audio/mpeg

ID3\u{4}
--------------------------d74496d66958873e
Content-Disposition: form-data; name=\"model\"

whisper-1
--------------------------d74496d66958873e--
",
    );
    let okhttp = crlf(
        "--5c2f3f0e-7a61-4a0e-9a53-0d1f6a2b7c11
Content-Disposition: form-data; name=\"model\"
Content-Length: 9

whisper-1
--5c2f3f0e-7a61-4a0e-9a53-0d1f6a2b7c11
Content-Disposition: form-data; name=\"file\"; filename=\"harbour.mp3\"
Content-Type: audio/mpeg
Content-Length: 4

ID3\u{4}
--5c2f3f0e-7a61-4a0e-9a53-0d1f6a2b7c11--
",
    );
    let dotnet = crlf(
        "--7f1b2c3d-0000-4d5e-8f90-a1b2c3d4e5f6
Content-Type: text/plain; charset=utf-8
Content-Disposition: form-data; name=model

whisper-1
--7f1b2c3d-0000-4d5e-8f90-a1b2c3d4e5f6
Content-Disposition: form-data; name=file; filename=harbour.mp3; filename*=utf-8''harbour.mp3

ID3\u{4}
--7f1b2c3d-0000-4d5e-8f90-a1b2c3d4e5f6--
",
    );
    let aiohttp = crlf(
        "--0a1b2c3d4e5f60718293a4b5c6d7e8f9
Content-Type: text/plain; charset=utf-8
Content-Disposition: form-data; name=\"model\"

whisper-1
--0a1b2c3d4e5f60718293a4b5c6d7e8f9
Content-Type: audio/mpeg
Content-Disposition: form-data; name=\"file\"; filename=\"harbour.mp3\"; filename*=utf-8''harbour.mp3

ID3\u{4}
--0a1b2c3d4e5f60718293a4b5c6d7e8f9--
",
    );
    let mime = "Content-Type: multipart/form-data; boundary=\"===============73==\"
MIME-Version: 1.0

This is a multi-part message.
--===============73==
Content-Disposition: form-data; name=\"model\"

whisper-1
--===============73==
Content-Disposition: form-data; name=\"file\"; filename=\"harbour.mp3\"
Content-Type: audio/mpeg

ID3\u{4}
--===============73==--
The end.
";
    for (client, content_type, body, expected) in [
        (
            "httpx",
            "multipart/form-data; boundary=f1c0a8d2b3e4f5a6978879605142334a",
            &*httpx,
            sound(13, Some(200_000)),
        ),
        (
            "undici",
            "multipart/form-data; boundary=----formdata-undici-093512374658",
            &undici,
            sound(0, Some(0)),
        ),
        (
            "curl",
            "multipart/form-data; boundary=------------------------d74496d66958873e",
            &curl,
            sound(0, None),
        ),
        (
            "OkHttp",
            "multipart/form-data; boundary=5c2f3f0e-7a61-4a0e-9a53-0d1f6a2b7c11",
            &okhttp,
            sound(0, None),
        ),
        (
            ".NET",
            "multipart/form-data; boundary=\"7f1b2c3d-0000-4d5e-8f90-a1b2c3d4e5f6\"",
            &dotnet,
            sound(0, None),
        ),
        (
            "aiohttp",
            "multipart/form-data; boundary=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            &aiohttp,
            sound(0, None),
        ),
        (
            "email.mime",
            "multipart/form-data; boundary=\"===============73==\"",
            mime,
            sound(0, None),
        ),
    ] {
        let (facts, rest) = Request::new(SOUND, content_type, body.as_bytes()).outcome();
        let mut facts = facts.unwrap();
        // The sound may follow the decision.
        facts.prompt_tokens += rest.tokens;
        assert_eq!(facts, expected, "{client}");
        assert_eq!(rest.bytes, 0, "{client}");
    }
}

#[test]
fn edits_of_pictures() {
    let webkit = crlf(
        "------WebKitFormBoundary7MA4YWxkTrZu0gW
Content-Disposition: form-data; name=\"model\"

gpt-image-1
------WebKitFormBoundary7MA4YWxkTrZu0gW
Content-Disposition: form-data; name=\"image[]\"; filename=\"gull.png\"
Content-Type: image/png

\u{89}PNG
------WebKitFormBoundary7MA4YWxkTrZu0gW
Content-Disposition: form-data; name=\"image[]\"; filename=\"\"
Content-Type: application/octet-stream


------WebKitFormBoundary7MA4YWxkTrZu0gW
Content-Disposition: form-data; name=\"prompt\"

Add a lighthouse
and a boat
------WebKitFormBoundary7MA4YWxkTrZu0gW--
",
    );
    let content_type = "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW";
    let (facts, rest) = Request::new(PICTURES, content_type, webkit.as_bytes()).outcome();
    let expected = Body {
        prompt_tokens: PICTURE,
        ..named("gpt-image-1")
    };
    assert_eq!(facts, Ok(expected));
    let prompt = "Add a lighthouse\r\nand a boat".len() as u64;
    assert_eq!((rest.bytes, rest.tokens), (prompt, PICTURE));

    let httpx = crlf(
        "--b1
Content-Disposition: form-data; name=\"prompt\"

Add a boat
--b1
Content-Disposition: form-data; name=\"model\"

gpt-image-1
--b1
Content-Disposition: form-data; name=\"n\"

2
--b1
Content-Disposition: form-data; name=\"stream\"

true
--b1
Content-Disposition: form-data; name=\"user\"

ada
--b1
Content-Disposition: form-data; name=\"image\"; filename=\"gull.png\"
Content-Type: image/png

\u{89}PNG
--b1
Content-Disposition: form-data; name=\"mask\"; filename=\"mask.png\"
Content-Type: image/png

\u{89}PNG
--b1--
",
    );
    let (facts, rest) = Request::new(PICTURES, super::TYPE, httpx.as_bytes()).outcome();
    let expected = Body {
        n: Some(2),
        stream: Some(true),
        prompt_bytes: 10,
        prompt_tokens: PICTURE,
        session: SessionFields {
            user: Some("ada".to_owned()),
            ..SessionFields::default()
        },
        ..named("gpt-image-1")
    };
    assert_eq!(facts, Ok(expected));
    assert_eq!(rest.tokens, PICTURE);
}
