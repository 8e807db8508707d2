"""The start page, in both languages and without anything built or fetched."""

import pytest


@pytest.mark.parametrize(
    ("asked", "language", "heading"),
    [
        ("en", "en", "Computing power, metered like electricity"),
        ("zh-CN,zh;q=0.9", "zh-hans", "算力，像用电一样计量"),
        ("fr", "zh-hans", "算力，像用电一样计量"),
    ],
)
def test_it_speaks_the_language_that_is_asked_for(client, asked, language, heading):
    page = client.get("/", REMOTE_ADDR="203.0.113.9", headers={"Accept-Language": asked})
    assert page.status_code == 200
    assert f'<html lang="{language}">' in page.text
    assert f"<h1>{heading}</h1>" in page.text
    assert page.headers["Content-Language"] == language


def test_its_style_sheet_is_served_without_collecting_files(client):
    style = client.get("/static/suanli.css")
    assert style.status_code == 200
    assert style.headers["Content-Type"] == 'text/css; charset="utf-8"'
    assert b"prefers-color-scheme: dark" in b"".join(style)


def test_it_can_only_be_read(client):
    assert client.post("/").status_code == 405
