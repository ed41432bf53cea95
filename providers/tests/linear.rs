//! What a request costs grows no faster than its length: the instructions of `verify` and `parse`, counted by valgrind.
//!
//! Runs where `valgrind` is found; `WAYPOST_REQUIRE_VALGRIND=1` makes its absence a failure.

use std::fmt::Write;
use std::hint::black_box;
use std::process::Command;

use jiff::Timestamp;
use serde_json::Value;
use waypost_providers::{Headers, PROVIDERS, Parsed, Part, Request};

use crate::cases::{Source, source};
use crate::forms::{Parts, is_event, recorded};

mod mails;

/// The length of the shorter of two requests, about. The other is twice as long.
const LEN: usize = 10_000;
/// The shorter of two values, at least: longer than any number that is read, and deeper than the reader goes.
const VALUE_LEN_MIN: usize = 512;
/// Twice the length may cost so many times as much. (Sorting keys takes a little more than twice.)
const GROWTH_MAX: f64 = 2.2;
/// Calls whose costs do not depend on the length.
const FIXED_MAX: u64 = 100_000;
/// No byte costs more, in a build without optimization.
const INSTRUCTIONS_A_BYTE_MAX: u64 = 4_000;
/// What stands where something long is put.
const MARK: &str = "\"the place\"";

/// A JSON value, or a value and what follows it, so many bytes long.
type Make = fn(usize) -> Vec<u8>;

const FAMILIES: [(&str, Make); 16] = [
    ("a long text", |len| quoted(b"long ", len)),
    ("escapes", |len| quoted(br"\u00e9\\\n\/", len)),
    ("lone surrogates", |len| quoted(br"\udce9\ud83d", len)),
    ("bytes that are no UTF-8", |len| quoted(b"\xff\xc3(", len)),
    ("brackets and quotes", |len| quoted(br#"<(\"a\\,b@c.example\"), "#, len)),
    ("an answer of many lines", |len| quoted(b"smtp; 550-5.1.1 no\\r\\n", len)),
    ("a time of many decimals", |len| between(b"\"2026-03-14T09:26:53.", b"12345", b"Z\"", len)),
    ("a long number", |len| repeated(b"9", len)),
    ("a long exponent", |len| between(b"1e", b"9", b"", len)),
    ("numbers beyond a double", |len| between(b"[", b"-1E+999,", b"0]", len)),
    // Deeper than the reader goes.
    ("deep lists", |len| [repeated(b"[", len), repeated(b"]", len)].concat()),
    ("deep objects", |len| [repeated(b"{\"a\":", len * 2), b"1".into(), repeated(b"}", len * 2 / 5)].concat()),
    ("many texts", |len| between(b"[", b"\"a\",", b"\"\"]", len)),
    ("many objects", |len| between(b"[", br#"{"name":"a","value":"b","id":"c"},"#, b"{}]", len)),
    ("many keys", |len| keys(len, |n| n)),
    ("one key many times", |len| keys(len, |_| 0)),
];

fn repeated(text: &[u8], len: usize) -> Vec<u8> {
    text.repeat(len / text.len())
}

fn between(before: &[u8], text: &[u8], after: &[u8], len: usize) -> Vec<u8> {
    [before, &repeated(text, len), after].concat()
}

fn quoted(text: &[u8], len: usize) -> Vec<u8> {
    between(b"\"", text, b"\"", len)
}

fn keys(len: usize, name: fn(usize) -> usize) -> Vec<u8> {
    let mut text = "\"a\"".to_owned();
    for n in 0..len / 16 {
        write!(text, ",\"key{:06}\":\"v\"", name(n)).unwrap();
    }
    text.into_bytes()
}

fn sources() -> Vec<Source> {
    PROVIDERS.iter().map(|provider| source(provider.name())).collect()
}

/// A request to be measured, and the same of twice the length.
struct Pair {
    name: String,
    source: usize,
    requests: [Request; 2],
}

fn pairs(sources: &[Source]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let mut add = |what: &str, make: &dyn Fn(usize) -> Request| {
            let name = format!("{}: {what}", source.provider.name());
            pairs.push(Pair { name, source: index, requests: [make(LEN), make(2 * LEN)] });
        };
        let (places, body) = marked(source);
        for (what, family) in FAMILIES {
            add(what, &|len| signed(source, &filled(&body, &family((len / places).max(VALUE_LEN_MIN * len / LEN)))));
        }
        let recorded = source.good().next().unwrap().0.request(source.now);
        add("one recorded event many times", &|len| {
            let many = [b"[", &between(&body, &[b",", &body[..]].concat(), b"]", len)[..]].concat();
            signed(source, &filled(&many, b"1"))
        });
        add("long headers", &|len| with_headers(&recorded, |value| repeated(value.as_bytes(), len)));
        add("lists of headers", &|len| {
            with_headers(&recorded, |value| repeated(format!("{value};v1,{value} ").as_bytes(), len))
        });
        if let Some(form) = mail(source) {
            for (what, family) in mails::MAILS {
                add(what, &|len| signed(source, &filled(&form, &family(len))));
            }
        }
        for (what, content_type, family) in FORMS {
            let headers: Headers = [("content-type", content_type)].into_iter().collect();
            add(what, &|len| Request { headers: headers.clone(), body: family(len).into(), ..recorded.clone() });
        }
    }
    pairs
}

const URL_ENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=--a--a";

const FORMS: [(&str, &str, Make); 7] = [
    ("a form of many fields", URL_ENCODED, |len| repeated(b"event=opened&tag=a&my-variable=1&", len)),
    ("a form with a long field", URL_ENCODED, |len| between(b"event=", b"%C3%A9+", b"", len)),
    ("a form with many headers", URL_ENCODED, |len| between(b"message-headers=[", b"[\"a\",\"b\"],", b"0]", len)),
    ("many parts", MULTIPART, |len| {
        let part = b"\r\ncontent-disposition: form-data; name=tag\r\n\r\nvalue\r\n----a--a";
        between(b"----a--a", part, b"--", len)
    }),
    ("a long part", MULTIPART, |len| {
        let head = b"----a--a\r\ncontent-disposition: form-data; name=tag\r\n\r\n";
        between(head, b"\r\n----a--\r\n--", b"\r\n----a--a--", len)
    }),
    ("a part with a long head", MULTIPART, |len| {
        let after = b"\r\ncontent-disposition: form-data; name=tag\r\n\r\n\r\n----a--a--";
        between(b"----a--a\r\n", b"a: b;c=d\r\n", after, len)
    }),
    ("parts without an end", MULTIPART, |len| between(b"----a--a", b"\r\n----a--", b"", len)),
];

/// A recorded form that has a mail as it was sent, with a mark in its place. Beside its header it would be the sender's field.
fn mail(source: &Source) -> Option<Vec<u8>> {
    let is_raw = |form: &Parts| !form.parts.iter().any(|(head, _)| head.ends_with(b"headers\""));
    let forms = recorded(source).into_iter().filter(is_raw);
    let mut form = forms.map(|mut form| {
        let mail =
            form.parts.iter_mut().find(|(head, _)| head.ends_with(b"\"email\"") || head.ends_with(b"-mime\""))?;
        mail.1 = MARK.into();
        Some(form.body())
    });
    form.find_map(|form| form)
}

/// The recorded form with the most fields, with marks in all of them, and how many they are.
fn marked_form(source: &Source) -> (usize, Vec<u8>) {
    let mut form = recorded(source).into_iter().max_by_key(|form| form.parts.len()).unwrap();
    form.parts.iter_mut().for_each(|(_, value)| *value = MARK.into());
    let (count, body) = (form.parts.len(), form.body());
    assert!(count > 3 && is_event(&source.read_body(&body).unwrap()), "{}", source.provider.name());
    (count, body)
}

/// The longest recorded body that is an event, with marks in all places but those that decide it, and how many they are.
fn marked(source: &Source) -> (usize, Vec<u8>) {
    let events = |body: &Value| {
        let parsed = source.read_body(body.to_string().as_bytes()).unwrap();
        parsed.iter().filter(|parsed| matches!(parsed, Parsed::Event(_))).count()
    };
    let bodies = source.good().filter_map(|(case, _)| serde_json::from_slice::<Value>(&case.body).ok());
    let body = bodies.filter(|body| events(body) == 1).max_by_key(|body| body.to_string().len());
    let Some(mut body) = body else { return marked_form(source) };
    let mut count = 0;
    for place in crate::change::places(&body) {
        let mut changed = body.clone();
        *changed.pointer_mut(&place).unwrap() = "the place".into();
        // Only what is behind a key, for some of the families put further keys there.
        let is_field =
            place.rsplit_once('/').is_some_and(|(parent, _)| body.pointer(parent).is_some_and(Value::is_object));
        if is_field && !body.pointer(&place).unwrap().is_object() && events(&changed) == 1 {
            (body, count) = (changed, count + 1);
        }
    }
    assert!(count > 3, "{}: {count} places", source.provider.name());
    (count, body.to_string().into_bytes())
}

/// A body with this in each of its marks.
fn filled(body: &[u8], value: &[u8]) -> Vec<u8> {
    let mut filled = Vec::new();
    for (n, part) in str::from_utf8(body).unwrap().split(MARK).enumerate() {
        if n > 0 {
            filled.extend(value);
        }
        filled.extend(part.as_bytes());
    }
    filled
}

/// Proven where the provider can sign it, else as it is.
fn signed(source: &Source, body: &[u8]) -> Request {
    let signed = source.try_sign("linear", body, source.now);
    let (headers, body) = signed.map_or_else(|_| (Headers::default(), body.to_vec().into()), |s| (s.headers, s.body));
    Request { source: "linear".into(), received_at: source.now, headers, body }
}

fn with_headers(recorded: &Request, value: impl Fn(&str) -> Vec<u8>) -> Request {
    let text = |given: &str| String::from_utf8(value(given)).unwrap();
    let headers = recorded.headers.iter().map(|(name, given)| (name, text(given))).collect();
    Request { headers, ..recorded.clone() }
}

/// What is counted.
#[inline(never)]
fn measured(source: &Source, request: Request, now: Timestamp) {
    if let Ok(verified) = source.proof.verify(source.provider, request, now) {
        black_box(source.provider.parse(&verified));
        for part in [Part::Text, Part::Attachment(0)] {
            black_box(source.provider.content(verified.request(), part));
        }
    }
}

/// Where the count of one request ends.
#[inline(never)]
fn told() {
    black_box(());
}

/// What valgrind runs, for the test below: each request of each pair once, in order.
#[test]
#[ignore = "the test below runs it, under valgrind"]
fn each_is_measured() {
    let sources = sources();
    for pair in pairs(&sources) {
        for request in pair.requests {
            measured(&sources[pair.source], request, sources[pair.source].now);
            told();
        }
    }
}

#[test]
fn twice_the_length_costs_about_twice_as_much() {
    let Some(counts) = counts() else { return };
    let pairs = pairs(&sources());
    assert_eq!(counts.len(), pairs.len() * 2, "valgrind did not tell them apart");
    let mut wrong = String::new();
    for (pair, counts) in pairs.iter().zip(counts.chunks(2)) {
        println!("{:50} {:>12} {:>12}", pair.name, counts[0], counts[1]);
        let most = (counts[0] as f64 * GROWTH_MAX) as u64 + FIXED_MAX;
        if counts[1] > most || counts[1] > FIXED_MAX + len(&pair.requests[1]) * INSTRUCTIONS_A_BYTE_MAX {
            write!(wrong, "\n{}: {} instructions, and {} for twice the length", pair.name, counts[0], counts[1])
                .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn len(request: &Request) -> u64 {
    let headers: usize = request.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    (headers + request.body.len()) as u64
}

/// The instructions of each request, in order; nothing where there is no valgrind.
fn counts() -> Option<Vec<u64>> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("WAYPOST_REQUIRE_VALGRIND").is_none_or(|flag| flag != "1"), "`valgrind` is missing");
        println!("skipped: `valgrind` is not here");
        return None;
    }
    let told = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("linear-{}", std::process::id()));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--combine-dumps=yes"]);
    valgrind.args(["--toggle-collect=*linear::measured*", "--dump-before=*linear::told*", "--dump-line=no"]);
    valgrind.arg(format!("--callgrind-out-file={}", told.display())).arg(std::env::current_exe().unwrap());
    let output =
        valgrind.args(["--exact", "linear::each_is_measured", "--ignored", "--test-threads=1"]).output().unwrap();
    let counted = std::fs::read_to_string(&told);
    let _ = std::fs::remove_file(&told);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let counted = counted.unwrap();
    let parts = counted.split("desc: Trigger: ").skip(1).filter(|part| part.starts_with("--dump-before="));
    let counts = parts.filter_map(|part| part.split_once("summary: ")?.1.lines().next()?.trim().parse().ok());
    Some(counts.collect())
}
