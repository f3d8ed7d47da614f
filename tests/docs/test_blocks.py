"""Every block of the documents works as it is typed, or says why it isn't run."""

import json

import pytest

from devstack.processes import ROOT
from tests.docs.conftest import OpenPage
from tests.support.document_blocks import Block, blocks, pages
from tests.support.page_session import differences


def _pages_to_run() -> list[str]:
    return [page for page in pages() if any(block.is_run for block in blocks(ROOT / page))]


@pytest.mark.parametrize("page", _pages_to_run())
def test_the_blocks_of_a_page_run_in_order(page: str, open_page: OpenPage):
    output = ""
    with open_page(page) as session:
        for block in blocks(ROOT / page):
            if block.is_run:
                output = session.run(block).output
            elif block.language == "json" and block.reason is None:
                _compare(page, block, output)


def _compare(page: str, block: Block, output: str) -> None:
    """Compare the answer that the page shows with what the block before it has printed."""
    where = f"{page}:{block.line}"
    try:
        actual = json.loads(output)
    except ValueError:
        raise AssertionError(f"{where}: the block before it printed no JSON: {output}") from None
    found = differences(json.loads(block.text), actual, where)
    assert not found, "\n".join([*found, output])
