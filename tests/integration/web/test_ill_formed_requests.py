"""Ill-formed HTTP is rejected in the API's shape, and the connection is closed."""

import re
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.served import Answer, Web, running_web

# A path whose body is read without a token: before the signature is checked.
_READS = b"POST /webhook/on-ggo-issued HTTP/1.1\r\nHost: a\r\n"
_GET = b"GET /health/live HTTP/1.1\r\n"
_CHUNKED = _READS + b"Transfer-Encoding: chunked\r\n\r\n"
_WHOLE = b"2\r\n{}\r\n0\r\n\r\n"
# Follows each request: it would be answered if the first one's end were misread (smuggling).
_NEXT = b"GET /health/live HTTP/1.1\r\nHost: a\r\nX-Request-ID: smuggled\r\n\r\n"

_CHUNKS = {
    "no size": b"\r\n{}\r\n0\r\n\r\n",
    "letters": b"zz\r\n{}\r\n0\r\n\r\n",
    "negative": b"-2\r\n{}\r\n0\r\n\r\n",
    "signed": b"+2\r\n{}\r\n0\r\n\r\n",
    "with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "space before": b" 2\r\n{}\r\n0\r\n\r\n",
    "space behind": b"2 \r\n{}\r\n0\r\n\r\n",
    "digits of another script": "٢\r\n{}\r\n0\r\n\r\n".encode(),
    "too short a size": b"1\r\n{}\r\n0\r\n\r\n",
    "too long a size": b"5\r\n{}\r\n0\r\n\r\n",
    "no line end behind the data": b"2\r\n{}0\r\n\r\n",
    "bare LF behind the data": b"2\r\n{}\n0\r\n\r\n",
    "bare LF behind the size": b"2\n{}\r\n0\r\n\r\n",
    "bare CR in an extension": b"2;a\rb\r\n{}\r\n0\r\n\r\n",
    "an extension that is none": b"2;\x00\r\n{}\r\n0\r\n\r\n",
    "a size line without end": b"2" + b";a" * 20_000 + b"\r\n{}\r\n0\r\n\r\n",
    "a trailer that is none": b"2\r\n{}\r\n0\r\nno colon\r\n\r\n",
    "a trailer that frames": b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
    "too many trailers": b"2\r\n{}\r\n0\r\n" + b"X: 1\r\n" * 200 + b"\r\n",
    "data behind the last chunk": b"2\r\n{}\r\n0\r\nxx\r\n\r\n",
}

_CUT_SHORT = {
    "nothing": b"",
    "within a size": b"2",
    "within a chunk": b"2\r\n{",
    "behind a chunk": b"2\r\n{}\r\n",
    "before the trailers' end": b"2\r\n{}\r\n0\r\n",
}

_HEADS = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\r\n\r\n", 400),
    "two words": (b"GET /\r\n\r\n", 400),
    "four words": (b"GET / / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target with a control": (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target of no known form": (b"GET accounts HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target with half an address": (b"GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "method in small letters": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "method with a bracket": (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "version 0.9": (b"GET / HTTP/0.9\r\n\r\n", 400),
    "version 2.0": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "version 3": (b"GET / HTTP/3\r\n\r\n", 400),
    "version of nothing": (b"GET / ABCD/1.1\r\n\r\n", 400),
    "first line too long": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "first line without end": (b"GET /" + b"a" * 90_000, 414),
    "header too long": (_GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    "too many headers": (_GET + b"X: 1\r\n" * 200 + b"\r\n", 431),
    "headers too long together": (_GET + (b"X: " + b"a" * 2000 + b"\r\n") * 60 + b"\r\n", 431),
    "headers without end": (_GET + (b"X: " + b"a" * 8000 + b"\r\n") * 300, 431),
    "header without a colon": (_GET + b"Authorization Bearer the-secret-token\r\n\r\n", 400),
    "header without a name": (_GET + b": the-secret-token\r\n\r\n", 400),
    "header name with a space": (_GET + b"Authorization : the-secret-token\r\n\r\n", 400),
    "header name with a quote": (_GET + b'"X": 1\r\n\r\n', 400),
    "header name of another script": (_GET + "Ü: 1\r\n\r\n".encode(), 400),
    "header with a zero byte": (_GET + b"X: the-secret-token\x00\r\n\r\n", 400),
    "header with a bare CR": (_GET + b"X: a\rb\r\n\r\n", 400),
    "folded header": (_GET + b"X: a\r\n b\r\n\r\n", 400),
    "two hosts": (_GET + b"Host: a\r\nHost: b\r\n\r\n", 400),
    "two types": (_GET + b"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\n", 400),
    "unknown expectation": (_GET + b"Expect: the impossible\r\n\r\n", 417),
    "contradictory schemes": (
        _GET + b"X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\n\r\n",
        400,
    ),
    "length and chunks": (
        _READS + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + _WHOLE,
        400,
    ),
    "chunks and length": (
        _READS + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + _WHOLE,
        400,
    ),
    "two lengths": (_READS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "the same length twice": (_READS + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    "list of lengths": (_READS + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    "negative length": (_READS + b"Content-Length: -2\r\n\r\n{}", 400),
    "signed length": (_READS + b"Content-Length: +2\r\n\r\n{}", 400),
    "length in hex": (_READS + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "length with an underscore": (_READS + b"Content-Length: 0_2\r\n\r\n{}", 400),
    "broken length": (_READS + b"Content-Length: 2.0\r\n\r\n{}", 400),
    "superscript length": (_READS + b"Content-Length: \xb2\r\n\r\n{}", 400),
    "empty length": (_READS + b"Content-Length:\r\n\r\n{}", 400),
    "length of 5,000 digits": (_READS + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}", 400),
    "chunked twice": (_READS + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + _WHOLE, 400),
    "chunked, then something": (_READS + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + _WHOLE, 400),
    "chunked in two headers": (
        _READS + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + _WHOLE,
        400,
    ),
    "an unknown coding": (_READS + b"Transfer-Encoding: xchunked\r\n\r\n" + _WHOLE, 400),
    "a coding with a tab in it": (_READS + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + _WHOLE, 400),
    "no chunked at the end": (_READS + b"Transfer-Encoding: gzip\r\n\r\n" + _WHOLE, 400),
    "identity": (_READS + b"Transfer-Encoding: identity\r\n\r\n" + _WHOLE, 400),
    "chunks in 1.0": (
        b"POST /webhook/on-ggo-issued HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + _WHOLE,
        400,
    ),
}


def _is_ours(answer: Answer) -> bool:
    """Return whether the answer has the API's shape."""
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["connection"] == "close"
    assert set(answer.json) == {"success", "message"}
    assert answer.json["success"] is False
    assert answer.json["message"]
    assert b"the-secret-token" not in answer.body
    return True


def _status_of_the_only_answer(web: Web, said: bytes) -> int:
    """Send this and another request; return the status of the only answer."""
    with web.connect() as connection:
        connection.say_all_the_same(said)
        answer = connection.answer()
        assert _is_ours(answer)
        assert connection.is_closed_within(5)
    return answer.status


@pytest.mark.parametrize("chunks", _CHUNKS.values(), ids=_CHUNKS)
def test_ill_formed_chunks(web: Web, chunks: bytes):
    assert _status_of_the_only_answer(web, _CHUNKED + chunks + _NEXT) == 400


@pytest.mark.parametrize("chunks", _CUT_SHORT.values(), ids=_CUT_SHORT)
def test_chunks_cut_short(web: Web, chunks: bytes):
    with web.connect() as connection:
        connection.say(_CHUNKED, chunks)
        connection.end()
        answer = connection.answer()
        assert _is_ours(answer)
        assert answer.status == 400
        assert connection.is_closed_within(5)


@pytest.mark.parametrize(("head", "status"), _HEADS.values(), ids=_HEADS)
def test_ill_formed_heads(web: Web, head: bytes, status: int):
    assert _status_of_the_only_answer(web, head + _NEXT) == status


@given(
    said=st.lists(
        st.one_of(
            st.sampled_from([*_CHUNKS.values(), *(head for head, _ in _HEADS.values())]),
            st.sampled_from([_READS, _GET, _CHUNKED, _WHOLE, b"\r\n", b"0\r\n", b"\n", b": "]),
            st.binary(max_size=30),
        ),
        min_size=1,
        max_size=5,
    ).map(b"".join)
)
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_input_is_an_internal_error(web: Web, said: bytes):
    """The answer, if there is one, is no 500."""
    with web.connect() as connection:
        connection.say_all_the_same(said)
        connection.end()
        # The connection ends without an answer if there was no whole request.
        with suppress(ConnectionError):
            assert connection.answer().status < 500


def test_the_rest_of_an_interrupted_chunked_body_is_no_request(
    module_database_uri: str, tmp_path_factory: pytest.TempPathFactory
):
    """After an interrupted wait, gunicorn's reader would report the end of the body."""
    with (
        running_web(
            module_database_uri, tmp_path_factory.mktemp("web"), BODY_TIME_LIMIT="0.2"
        ) as hasty,
        hasty.connect() as connection,
    ):
        connection.say(_CHUNKED, b"%X\r\n" % len(_NEXT))
        answer = connection.answer()
        assert _is_ours(answer)
        assert answer.status == 408
        connection.say_all_the_same(_NEXT)
        assert connection.is_closed_within(5)


@pytest.mark.parametrize("length", [1, 8_000, 16_384])
def test_tokens_of_up_to_16_kb_pass(web: Web, length: int):
    """Hydra, which is down here, would introspect them: a 503."""
    answer = web.ask(
        b"POST /accounts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ", b"a" * length, b"\r\n\r\n"
    )
    assert (answer.status, answer.json["message"]) == (503, "Hydra is out of reach")


def test_a_client_cannot_set_the_base_path(web: Web):
    """Not from loopback either, which gunicorn trusts as a proxy's address."""
    answer = web.ask(_GET + b"SCRIPT_NAME: /elsewhere\r\n\r\n")
    assert answer.status == 200


def test_the_log_has_no_traceback_and_no_secret(web: Web):
    output = web.process.output()
    assert not re.search(r"Traceback|\"level\":\"(ERROR|CRITICAL)\"", output)
    assert "the-secret-token" not in output
