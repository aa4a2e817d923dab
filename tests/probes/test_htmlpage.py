"""The one HTML page: what comes from outside is text in it, never markup."""

from __future__ import annotations

from markupsafe import Markup

from probes.htmlpage import PageSection, page, table


def test_all_is_escaped() -> None:
    body = table(["<a>", "share"], [["<b>&", 0.254]], share=1)
    html = page("<t>", [PageSection("<h>", "<s>", body)], about="<o>", problems=["<p>"], notes=["<n>"])
    assert [mark for mark in "tabhsopn" if f"<{mark}>" in html] == []
    assert html.count("&lt;") == 9 and "&lt;b&gt;&amp;" in html


def test_a_table_draws_its_shares() -> None:
    html = table(["stage", "share"], [["model", 0.254], ["more than all", 1.5]], share=1)
    assert '<td class="share"><i style="width:25.4%"></i><span>25.40%</span></td>' in html
    assert '<i style="width:100.0%"></i><span>150.00%</span>' in html
    small = table(["stage", "share"], [["free", 0.00004], ["grammar", 0.0]], share=1)
    assert "<span>&lt;0.01%</span>" in small and "<span>0%</span>" in small
    assert html.startswith('<table><thead><tr><th class="text">stage</th><th>share</th>')


def test_markup_of_our_own_stays() -> None:
    assert "<svg></svg>" in page("t", [PageSection("h", "", Markup("<svg></svg>"))], style="a > b { color: red }")
    assert "a > b { color: red }" in page("t", [], style="a > b { color: red }")
