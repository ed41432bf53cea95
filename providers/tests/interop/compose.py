"""Mails that Python's email package composes, posted as each provider posts them, and what should be read from them.

Prints JSON: for each mail its contents, and for each provider the headers and the body (base64) of a request.
"""

import base64
import hashlib
import hmac
import io
import json
import sys
from email import message_from_bytes, policy
from email.generator import BytesGenerator
from email.headerregistry import Address
from email.message import EmailMessage
from email.mime.text import MIMEText
from urllib.parse import urlencode

NOW, LOGIN, KEY = sys.argv[1:4]
TEXTS = {
    "utf-8": "Grüße, привет, 你好 🙂\n",
    "iso-8859-1": "Grüße und déjà vu\n",
    "shift_jis": "こんにちは、世界。\n",
    "gb18030": "你好，世界。\n",
    "koi8-r": "Привет, мир.\n",
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
# What would end a part of a form, or a line, if it were not kept as it is.
PDF = b"%PDF-1.7\n--=_form\r\n\r\n--=_form--\n\xff\xfe\x00" * 9
# What most mail programs write beside a name of RFC 2231, and the package reads in its place.
PLAIN, ENCODED = b'filename="r?sum?.pdf"', b"filename*=utf-8''r%C3%A9sum%C3%A9.pdf"
NAMES = ["résumé.pdf", "reçu № 7.pdf", "a \"quoted\"; name=b.pdf", "長い" * 40 + ".pdf", "plain.pdf"]


def new(n):
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = Address("Nöra Ng, the 1st", "nora", "customer.example")
    mail["To"] = [Address("Support", "support", "in.lanyard.example"), Address("Zoë", "zoe", "lanyard.example")]
    mail["Cc"] = "omar@customer.example"
    mail["Reply-To"] = "nora+replies@customer.example"
    mail["Subject"] = f"Re: Facture {n}: réglée, спасибо, 見積書の件について、ご確認をお願いいたします"
    mail["Date"] = "Mon, 16 Mar 2026 10:28:38 +0100"
    mail["Message-ID"] = f"<composed-{n}@customer.example>"
    mail["In-Reply-To"] = "<4471@send.lanyard.example>"
    mail["References"] = "<4470@send.lanyard.example> <4471@send.lanyard.example>"
    return mail


def plain(n, charset, cte):
    mail = new(n)
    text = TEXTS[charset] if cte != "7bit" else "Plain.\n"
    mail.set_content(text, charset=charset, cte=cte)
    return mail, {"text": text, "html": None, "attached": []}


def nested(n, charset, cte):
    """Alternative in related in mixed, with an inline image, a mail in the mail, and names as RFC 2231 has them."""
    mail = new(n)
    text, html = TEXTS[charset], f"<p>{TEXTS[charset].strip()}<img src='cid:logo@lanyard'></p>\n"
    mail.set_content(text, charset=charset, cte=cte)
    mail.add_alternative(html, subtype="html", charset=charset, cte=cte)
    html_part = mail.get_payload()[1]
    html_part.add_related(PNG, "image", "png", cid="<logo@lanyard>", filename="logo.png", disposition="inline")
    attached = [["logo.png", PNG, "image/png", "logo@lanyard"]]
    for name in NAMES:
        mail.add_attachment(PDF, "application", "pdf", filename=name)
        attached.append([name, PDF, "application/pdf", None])
    mail.add_attachment(TEXTS[charset], subtype="csv", charset=charset, cte=cte, filename="rows.csv")
    attached.append(["rows.csv", TEXTS[charset].encode(charset), "text/csv", None])
    inner, _ = plain(1000 + n, "koi8-r", "base64")
    mail.add_attachment(inner)
    within = mail.get_payload()[-1].get_payload()[0]
    attached.append([None, within.as_bytes(policy=policy.SMTP), "message/rfc822", None])
    return mail, {"text": text, "html": html, "attached": attached}


def legacy(n):
    """The older half of the package, which encodes otherwise."""
    mail = MIMEText("Grüße\n", "plain", "iso-8859-1")
    mail["From"] = "nora@customer.example"
    mail["To"] = "support@in.lanyard.example"
    mail["Subject"] = "plain"
    mail["Message-ID"] = f"<composed-{n}@customer.example>"
    return mail, {"text": "Grüße\n", "html": None, "attached": []}


def raw_of(mail):
    out = io.BytesIO()
    BytesGenerator(out, policy=policy.SMTP).flatten(mail)
    return out.getvalue().replace(ENCODED, PLAIN + b";\r\n " + ENCODED)


def leaves(part):
    """The parts as a provider takes them apart: what is in a mail in the mail stays there."""
    if part.get_content_maintype() == "multipart":
        return [leaf for child in part.get_payload() for leaf in leaves(child)]
    return [part]


def name_of(part):
    name = part.get_filename()
    return NAMES[0] if name == "r?sum?.pdf" else name


def content(part):
    if part.get_content_type() == "message/rfc822":
        return part.get_payload()[0].as_bytes(policy=policy.SMTP)
    return part.get_payload(decode=True)


def taken_apart(raw):
    mail = message_from_bytes(raw, policy=policy.default)
    bodies, files = {}, []
    for part in leaves(mail):
        kind = part.get_content_type()
        if kind in ("text/plain", "text/html") and not part.get_filename() and kind not in bodies:
            bodies[kind] = part
        else:
            files.append(part)
    return mail, bodies, files


def form(fields):
    """A multipart form (RFC 7578): names, values, and file name and type of a file."""
    out, boundary = b"", b"=_form--of-the-sender"
    for name, value, *file in fields:
        head = f'Content-Disposition: form-data; name="{name}"'
        if file:
            quoted = (file[0] or "").replace("\\", "\\\\").replace('"', '\\"')
            head += f';\r\n filename="{quoted}"\r\nContent-Type: {file[1]}'
        value = value if isinstance(value, bytes) else str(value).encode()
        out += b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n"
    return f"multipart/form-data; boundary=\"{boundary.decode()}\"", out + b"--" + boundary + b"--\r\n"


def basic(content_type, body):
    login = base64.b64encode(LOGIN.encode()).decode()
    return {"content-type": content_type, "authorization": f"Basic {login}"}, body


def sendgrid(raw, is_raw):
    mail, bodies, files = taken_apart(raw)
    fields = [("to", str(mail["to"])), ("from", str(mail["from"])), ("subject", str(mail["subject"]))]
    fields += [("cc", str(mail["cc"]))] if mail["cc"] else []
    fields += [
        ("envelope", json.dumps({"to": ["support@in.lanyard.example"], "from": "nora@customer.example"})),
        ("SPF", "pass"), ("dkim", "{@customer.example : pass}"), ("sender_ip", "198.51.100.7"),
    ]
    charsets = {"to": "UTF-8", "from": "UTF-8", "subject": "UTF-8", "cc": "UTF-8"}
    if is_raw:
        fields.append(("email", raw))
    else:
        fields.append(("headers", raw.split(b"\r\n\r\n")[0] + b"\n"))
        for name, part in (("text", bodies.get("text/plain")), ("html", bodies.get("text/html"))):
            if part is not None:
                charsets[name] = part.get_content_charset()
                fields.append((name, content(part)))
        told, ids = {}, {}
        for n, part in enumerate(files, 1):
            name = name_of(part)
            told[f"attachment{n}"] = {"type": part.get_content_type()} | ({"filename": name, "name": name} if name else {})
            if part["content-id"]:
                told[f"attachment{n}"]["content-id"] = ids_of(part)
                ids[ids_of(part)] = f"attachment{n}"
            fields.append((f"attachment{n}", content(part), name, part.get_content_type()))
        fields += [("attachments", len(files)), ("attachment-info", json.dumps(told)), ("content-ids", json.dumps(ids))]
    return basic(*form(fields + [("charsets", json.dumps(charsets))]))


def ids_of(part):
    return str(part["content-id"]).strip("<>")


def mailgun(raw, is_raw, is_form):
    mail, bodies, files = taken_apart(raw)
    fields = [("recipient", "support@in.lanyard.example"), ("sender", "nora@customer.example"),
              ("subject", str(mail["subject"])), ("from", str(mail["from"]))]
    if is_raw:
        fields.append(("body-mime", raw))
    else:
        headers = [[name.title(), str(value)] for name, value in mail.items()]
        fields += [(name, value) for name, value in headers] + [("message-headers", json.dumps(headers))]
        for name, part in (("body-plain", bodies.get("text/plain")), ("body-html", bodies.get("text/html"))):
            if part is not None:
                fields.append((name, content(part).decode(part.get_content_charset())))
        ids = {f"<{ids_of(part)}>": f"attachment-{n}" for n, part in enumerate(files, 1) if part["content-id"]}
        fields += [("attachment-count", len(files)), ("content-id-map", json.dumps(ids))] if files else []
        fields += [(f"attachment-{n}", content(part), name_of(part), part.get_content_type())
                   for n, part in enumerate(files, 1)]
    token = hashlib.sha256(raw + bytes([is_raw, is_form])).hexdigest()[:50]
    signature = hmac.new(KEY.encode(), (NOW + token).encode(), hashlib.sha256).hexdigest()
    fields += [("timestamp", NOW), ("token", token), ("signature", signature)]
    if is_form or files and not is_raw:
        content_type, body = form(fields)
    else:
        content_type, body = "application/x-www-form-urlencoded", urlencode(fields).encode()
    return {"content-type": content_type}, body


def postmark(raw):
    mail, bodies, files = taken_apart(raw)
    text = lambda kind: content(bodies[kind]).decode(bodies[kind].get_content_charset()) if kind in bodies else ""
    full = lambda name: [{"Email": one.addr_spec, "Name": one.display_name}
                         for one in (mail[name].addresses if mail[name] else ())]
    body = {
        "From": str(mail["from"]), "FromFull": full("from")[0], "ToFull": full("to"), "CcFull": full("cc"),
        "OriginalRecipient": "support@in.lanyard.example", "Subject": str(mail["subject"]),
        "ReplyTo": str(mail["reply-to"] or ""), "MessageID": hashlib.sha256(raw).hexdigest(), "Date": str(mail["date"] or ""),
        "TextBody": text("text/plain"), "HtmlBody": text("text/html"), "RawEmail": raw.decode("latin-1"),
        "Headers": [{"Name": name, "Value": str(value)} for name, value in mail.items()],
        "Attachments": [
            {"Name": name_of(part) or "", "ContentType": part.get_content_type(),
             "Content": base64.b64encode(content(part)).decode(), "ContentLength": len(content(part))}
            | ({"ContentID": ids_of(part)} if part["content-id"] else {})
            for part in files
        ],
    }
    return basic("application/json", json.dumps(body).replace("+", "\\u002B").encode())


def main():
    ctes = ["7bit", "8bit", "quoted-printable", "base64"]
    mails = [plain(n, charset, cte) for n, (charset, cte) in enumerate((c, e) for c in TEXTS for e in ctes)]
    mails += [nested(100 + n, charset, cte) for n, (charset, cte) in enumerate((c, e) for c in TEXTS for e in ctes[1:])]
    mails += [legacy(200)]
    told = []
    for mail, expected in mails:
        raw = raw_of(mail)
        expected["raw"] = raw
        expected["from"], expected["to"] = str(mail["from"]), [str(one) for one in str(mail["to"]).split(", ")]
        for name in ("subject", "message-id", "date", "reply-to", "in-reply-to", "references"):
            expected[name] = str(mail[name]) if mail[name] else None
        requests = {
            "sendgrid-inbound parsed": sendgrid(raw, False), "sendgrid-inbound raw": sendgrid(raw, True),
            "mailgun-inbound forward": mailgun(raw, False, False), "mailgun-inbound forward, multipart": mailgun(raw, False, True),
            "mailgun-inbound mime": mailgun(raw, True, True), "mailgun-inbound mime, url-encoded": mailgun(raw, True, False),
            "postmark-inbound": postmark(raw),
        }
        told.append({"mail": expected, "requests": {name: [headers, body] for name, (headers, body) in requests.items()}})
    as_text = lambda value: base64.b64encode(value).decode()
    print(json.dumps(told, default=as_text))


main()
