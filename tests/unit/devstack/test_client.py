"""The browser's parsing of forms and URLs, without a server."""

from devstack.client import _FormParser, _query

_PAGE = """<form method="post" action="?a=1&amp;b=2">
<input name="subject" required value="x"><input type=hidden name=h value=1>
<input type="checkbox" name="scope" value="openid" checked>
<input type="checkbox" name="scope" value="offline">
<button name="action" value="accept">Accept</button></form><form action="other"></form>"""


def test_a_form_sends_prefilled_and_ticked_fields():
    parser = _FormParser()
    parser.feed(_PAGE)
    assert parser.form.action == "?a=1&b=2"
    assert parser.form.fields == [("subject", "x"), ("h", "1"), ("scope", "openid")]


def test_the_query_of_the_return_url():
    assert _query("http://here/docs?x=1&success=0&msg=No%20luck") == {
        "x": "1",
        "success": "0",
        "msg": "No luck",
    }
