"""Who may: logins, sessions, proxies, and requests that come from elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from penstock.stream import cli
from penstock.stream.console.page import Person
from penstock.stream.console.state import States
from penstock.stream.console.who import people as logins
from penstock.stream.console.who.attempts import AT_ONCE, AT_ONCE_NAME, EACH_S, Attempts
from penstock.stream.console.who.origin import foreign, own_path
from penstock.stream.console.who.passwords import BadLine, fits, hashed, users_of
from penstock.stream.console.who.people import People
from penstock.stream.console.who.proxy import BadRule, Proxies
from penstock.stream.console.who.sessions import LASTS_S, Session, key_of, session_of, token
from penstock.stream.process.settings import SettingError, Settings
from penstock.stream.roles.console_people import people_of
from tests.effort import examples
from tests.stream.console.acting import OURS, PASSWORD, Desk, behind_a_proxy, password_file
from tests.stream.generated import parcels


@pytest.fixture
def desk(states: States, tmp_path: Path) -> Desk:
    return Desk(states, People(password_file(tmp_path), anonymous=False))


# -- where a request comes from ------------------------------------------------------------------------------------------

HOST = (b"host", b"console.example:8090")


@pytest.mark.parametrize(
    ("headers", "by_header", "passes"),
    [
        ([(b"sec-fetch-site", b"same-origin")], False, True),
        ([(b"sec-fetch-site", b"none")], False, True),
        ([(b"sec-fetch-site", b"same-site")], False, False),
        ([(b"sec-fetch-site", b"cross-site")], False, False),
        ([(b"sec-fetch-site", b"cross-site")], True, False),
        ([(b"sec-fetch-site", b"")], False, False),
        ([(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")], False, False),
        ([(b"Sec-Fetch-Site", b"cross-site"), (b"origin", b"http://console.example:8090")], False, False),
        ([(b"sec-fetch-site", b"same-origin"), (b"origin", b"https://evil.example")], False, True),
        ([(b"origin", b"http://console.example:8090")], False, True),
        ([(b"origin", b"https://CONSOLE.example:8090")], False, True),
        ([(b"origin", b"http://console.example")], False, False),
        ([(b"origin", b"http://console.example:8091")], False, False),
        ([(b"origin", b"https://evil.example")], True, False),
        ([(b"origin", b"null")], True, False),
        ([(b"origin", b"http://console.example:8090@evil.example")], False, False),
        ([(b"origin", b"http://console.example:8090"), (b"origin", b"https://evil.example")], False, False),
        ([(b"origin", b"http://console.example:8090/path")], False, False),
        ([(b"origin", b"console.example:8090")], False, False),
        ([(b"origin", b"http://[")], False, False),
        ([], False, False),
        ([], True, True),
    ],
)
def test_a_write_passes_only_from_a_page_of_the_same_origin(
    headers: list[tuple[bytes, bytes]], by_header: bool, passes: bool
) -> None:
    assert (foreign("POST", [HOST, *headers], by_header=by_header) == "") is passes
    for method in ("GET", "HEAD", "OPTIONS"):
        assert foreign(method, [HOST, *headers], by_header=False) == ""
    for method in ("PUT", "PATCH", "DELETE", "post", "BREW"):
        assert (foreign(method, [HOST, *headers], by_header=by_header) == "") is passes


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {},
    ],
)
@pytest.mark.parametrize("path", ["/pipelines/parcels/act/hold", "/login", "/logout"])
def test_a_forged_post_with_somebodys_cookie_is_refused(
    desk: Desk, headers: dict[str, str], path: str
) -> None:
    browser = desk.of("omar")
    del browser.headers["Sec-Fetch-Site"]
    forged = {"reason": "evil", "once": "0" * 32, "name": "omar", "password": PASSWORD}
    answer = browser.post(path, data=forged, headers=headers)
    assert answer.status_code == 403 and "is refused" in answer.text and not desk.sent
    assert "set-cookie" not in answer.headers and browser.get("/").status_code == 200, "still logged in"


# -- passwords -----------------------------------------------------------------------------------------------------------


@settings(max_examples=examples(40), deadline=None)
@given(password=st.text(max_size=40), other=st.text(max_size=40), salt=st.binary(min_size=1, max_size=20))
def test_a_password_fits_itself_alone(password: str, other: str, salt: bytes) -> None:
    users = users_of(f"mia:operator:{hashed(password, salt, 2)}")
    assert fits(users, "mia", password)
    assert fits(users, "mia", other) is (password == other)
    assert password not in users["mia"].secret.split("$")[:1]


def test_a_password_fits_nobody_who_is_not_there() -> None:
    """It takes as long as for somebody who is: so this is not tried with every password of the test above."""
    assert not fits(users_of(f"mia:operator:{hashed(PASSWORD, b'one', 2)}"), "tom", PASSWORD)


def test_salts_make_equal_passwords_look_different() -> None:
    assert hashed(PASSWORD, b"one", 2) != hashed(PASSWORD, b"two", 2)
    assert hashed(PASSWORD, b"one").startswith("scrypt$32768$8$3$")


@pytest.mark.parametrize(
    "line",
    [
        "mia:operator",
        "mia:root:" + hashed("x", b"s", 2),
        ":operator:" + hashed("x", b"s", 2),
        "mia:operator:plain text",
        "mia:operator:scrypt$3$8$3$YQ==$YQ==",
        "mia:operator:" + hashed("x", b"s", 2).replace("scrypt$2$", "scrypt$1073741824$"),
        "mia:operator:" + hashed("x", b"s", 2).replace("scrypt", "md5"),
        "mia:operator:" + hashed("x", b"s", 2) + ":more",
    ],
)
def test_a_line_that_is_none_is_named_by_its_number_and_not_shown(line: str) -> None:
    with pytest.raises(BadLine, match="line 2") as refused:
        users_of(f"# people\n{line}")
    assert "plain text" not in str(refused.value)


def test_nobody_has_two_passwords() -> None:
    line = f"mia:operator:{hashed('x', b's', 2)}"
    with pytest.raises(BadLine, match="line 2 names mia a second time"):
        users_of(f"{line}\n{line}")


def test_a_person_is_added_and_changed_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "people.txt"

    def add(name: str, role: str, password: str) -> int:
        monkeypatch.setattr("sys.stdin", __import__("io").StringIO(password + "\n"))
        return cli.main(["console", "--add-user", name, "--role", role, "--users", str(path)])

    assert add("mia", "operator", PASSWORD) == 0 and add("tom", "viewer", PASSWORD) == 0
    assert add("mia", "approver", "another password") == 0
    told = capsys.readouterr()
    assert "mia was added: operator" in told.out and "mia has another password" in told.out
    users = users_of(path.read_text())
    assert {name: user.role for name, user in users.items()} == {"mia": "approver", "tom": "viewer"}
    assert fits(users, "mia", "another password") and not fits(users, "mia", PASSWORD)
    assert path.stat().st_mode & 0o077 == 0 and PASSWORD not in path.read_text() + told.out + told.err
    before = path.read_text()
    for name, password in (("mia", "short"), ("mi:a", PASSWORD), ("", PASSWORD)):
        assert add(name, "viewer", password) == 2
    assert path.read_text() == before
    assert cli.main(["console", "--add-user", "mia"]) == 2 and "--users FILE" in capsys.readouterr().err
    assert cli.main(["console"]) == 2 and "definition FILE" in capsys.readouterr().err


# -- logins --------------------------------------------------------------------------------------------------------------


def test_who_is_not_logged_in_sees_the_door_and_nothing_else(desk: Desk) -> None:
    browser = desk.browser()
    for path in ("/", "/pipelines/parcels", "/pipelines/parcels/act", "/nowhere"):
        answer = browser.get(path)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/login?next=%2F")
        assert answer.text == ""
    assert browser.get("/live/").status_code == browser.get("/live/pipelines/parcels").status_code == 401
    assert "parcels" not in browser.get("/login?next=/").text
    assert browser.get("/static/console.css").status_code == browser.get("/metrics").status_code == 200
    assert browser.post("/pipelines/parcels/act/hold", headers=OURS).status_code == 401


def test_the_login_page_can_be_filled_in_by_a_password_manager(desk: Desk) -> None:
    page = desk.browser().get("/login").text
    assert 'autocomplete="username"' in page and 'autocomplete="current-password"' in page
    assert '<label for="name">' in page and '<label for="password">' in page and "onpaste" not in page


def test_a_login_gives_a_cookie_that_no_script_and_no_other_site_gets(desk: Desk) -> None:
    given_ = desk.browser(headers=OURS).post("/login", data={"name": "omar", "password": PASSWORD})
    assert given_.headers["location"] == "/"
    cookie = given_.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; ")) and "Secure" not in cookie
    assert cookie.startswith("penstock_session=") and "Domain" not in cookie
    over_tls = desk.browser(headers=OURS, base_url="https://testserver")
    cookie = over_tls.post("/login", data={"name": "omar", "password": PASSWORD}).headers["set-cookie"]
    assert cookie.startswith("__Host-penstock_session=") and cookie.endswith("; Secure")
    assert "omar, operator" in over_tls.get("/").text


@pytest.mark.parametrize("password", ["", "correct horse", PASSWORD + " ", PASSWORD.upper(), "x" * 5_000])
@pytest.mark.parametrize("name", ["omar", "nobody", "", "<script>alert(1)</script>"])
def test_a_wrong_login_is_refused_in_the_same_words_and_never_logged(
    desk: Desk, name: str, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    browser = desk.browser(headers=OURS)
    answer = browser.post("/login", data={"name": name, "password": password})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert (
        "There is no such name, or the password is another one." in answer.text
        and 'role="alert"' in answer.text
    )
    assert "<script>alert" not in answer.text and (not password or password not in answer.text)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("penstock")]
    assert ours and not any(said and said in line for line in ours for said in (name, password))


def test_a_session_that_was_planted_before_the_login_is_worth_nothing(desk: Desk) -> None:
    planted = desk.of("vera").cookies["penstock_session"]
    browser = desk.browser(headers=OURS, cookies={"penstock_session": planted})
    answer = browser.post("/login", data={"name": "omar", "password": PASSWORD})
    fresh = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert fresh != planted
    page = desk.browser(cookies={"penstock_session": fresh}).get("/").text
    assert "omar, operator" in page
    assert desk.browser(cookies={"penstock_session": planted}).get("/").status_code == 303, (
        "the old one ended"
    )


def test_a_logout_ends_the_session_for_whoever_kept_its_cookie(desk: Desk) -> None:
    browser = desk.of("omar")
    kept = browser.cookies["penstock_session"]
    answer = browser.post("/logout")
    assert answer.status_code == 303 and "Max-Age=0" in answer.headers["set-cookie"]
    assert desk.browser(cookies={"penstock_session": kept}).get("/").status_code == 303
    assert browser.get("/logout").status_code == 405, "no link logs anybody out"


def test_who_leaves_the_file_or_gets_another_password_or_role_is_that_at_once(
    states: States, tmp_path: Path
) -> None:
    file = password_file(tmp_path, eve="operator")
    desk = Desk(states, People(file, anonymous=False))
    eve, omar, ada = desk.of("eve"), desk.of("omar"), desk.of("ada")
    kept = [line for line in file.path.read_text().splitlines() if not line.startswith(("eve:", "omar:"))]
    lines = [*kept, f"omar:operator:{hashed('another password', b'x', 2)}"]
    file.path.write_text("\n".join(lines).replace("ada:approver", "ada:viewer"))
    assert eve.get("/").status_code == omar.get("/").status_code == 303
    assert "ada, viewer" in ada.get("/").text
    file.path.write_text("broken")
    assert ada.get("/").status_code == 303, "a file that cannot be read lets nobody in"


@settings(max_examples=examples(60))
@given(st.integers(0, 400), st.integers(1, 255))
def test_a_session_with_any_byte_changed_is_none(place: int, by: int) -> None:
    key = key_of("secret")
    made = token(key, Session("id", "mia", "mark", 1_000))
    assert session_of(key, made, 999) == Session("id", "mia", "mark", 1_000)
    assert session_of(key, made, 1_000) is None and session_of(key_of("other"), made, 0) is None
    place %= len(made)
    changed = made[:place] + chr(ord(made[place]) ^ by) + made[place + 1 :]
    assert session_of(key, changed, 0) is None
    for junk in ("", ".", "a.b", made + ".", made[:-1], "é." + made):
        assert session_of(key, junk, 0) is None


def test_consoles_with_the_same_secret_know_each_others_sessions(states: States, tmp_path: Path) -> None:
    file = password_file(tmp_path)
    now = [1_000.0]
    one, two, other = (
        Desk(states, People(file, anonymous=False, secret=secret, now_s=lambda: now[0]))
        for secret in ("shared", "shared", "")
    )
    cookies = {"penstock_session": one.of("omar").cookies["penstock_session"]}
    assert two.browser(cookies=cookies).get("/").status_code == 200
    assert other.browser(cookies=cookies).get("/").status_code == 303
    now[0] += LASTS_S
    assert two.browser(cookies=cookies).get("/").status_code == 303


def test_guessing_is_slowed_down_by_address_and_locks_nobody_else_out(
    states: States, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    desk = Desk(states, People(password_file(tmp_path), steady_s=lambda: now[0]))
    looked: list[str] = []
    real = logins.fits
    monkeypatch.setattr(
        logins, "fits", lambda users, name, given: looked.append(name) or real(users, name, given)
    )

    def guess(address: str, name: str, password: str = "wrong") -> Any:
        browser = TestClient(desk.console, headers=OURS, client=(address, 5), follow_redirects=False)
        return browser.post("/login", data={"name": name, "password": password})

    for _ in range(AT_ONCE_NAME):
        assert guess("10.9.9.9", "omar").status_code == 403
    refused = guess("10.9.9.9", "omar", PASSWORD)
    assert refused.status_code == 429 and refused.headers["retry-after"] == f"{EACH_S:.0f}"
    assert "Try again in 30 seconds" in refused.text and len(looked) == AT_ONCE_NAME, (
        "it is not even looked at"
    )
    assert guess("10.9.9.8", "omar", PASSWORD).status_code == 303, "from elsewhere omar logs in"
    for number in range(AT_ONCE - AT_ONCE_NAME):
        assert guess("10.9.9.9", f"n{number}").status_code == 403
    assert guess("10.9.9.9", "ada", PASSWORD).status_code == 429, "another name does not help that address"
    now[0] += EACH_S
    assert guess("10.9.9.9", "omar", PASSWORD).status_code == 303
    assert guess("10.9.9.9", "omar", PASSWORD).status_code == 303, "who knows the password is not counted"


def test_attempts_are_counted_by_network_and_forgotten_before_they_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("penstock.stream.console.who.attempts.MOST_KEYS", 50)
    attempts = Attempts()
    for number in range(AT_ONCE):
        assert attempts.take(f"2001:db8::{number:x}", f"n{number}", 0) == 0
    assert attempts.take("2001:db8::ffff", "more", 0) == EACH_S
    assert attempts.take("2001:db8:0:1::1", "more", 0) == 0
    for number in range(1_000):
        attempts.take(f"10.0.{number // 250}.{number % 250}", "x" * 10_000, 0)
    assert len(attempts._left) <= 50


@pytest.mark.parametrize(
    ("wanted", "goes"),
    [
        ("/pipelines/parcels?span=7d", "/pipelines/parcels?span=7d"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/\n/evil.example", "/"),
        ("/\t/evil.example", "/"),
        (" //evil.example", "/"),
        ("", "/"),
        ("/login?next=/", "/"),
        ("/é", "/"),
        ("/" + "x" * 3_000, "/"),
    ],
)
def test_a_login_leads_on_to_this_console_alone(desk: Desk, wanted: str, goes: str) -> None:
    assert own_path(wanted) == goes
    answer = desk.browser(headers=OURS).post(
        "/login", data={"name": "omar", "password": PASSWORD, "next": wanted}
    )
    assert answer.status_code == 303 and answer.headers["location"] == goes
    page = (
        desk.browser().get("/login", params={"next": wanted}, headers={"Sec-Fetch-Site": "cross-site"}).text
    )
    assert "evil.example" not in page and "javascript:" not in page


def test_a_link_from_elsewhere_finds_who_is_logged_in_by_asking_once_more(desk: Desk) -> None:
    browser = desk.browser()  # a browser keeps a strict cookie back here
    page = browser.get("/login?next=/pipelines/parcels", headers={"Sec-Fetch-Site": "cross-site"}).text
    assert '<meta http-equiv="refresh" content="0; url=/pipelines/parcels">' in page
    for site in ("same-origin", "none"):
        assert "refresh" not in browser.get("/login?next=/", headers={"Sec-Fetch-Site": site}).text
    assert "refresh" not in browser.get("/login").text


# -- proxies -------------------------------------------------------------------------------------------------------------


def through(desk: Desk, address: str, headers: Any) -> TestClient:
    return TestClient(desk.console, headers=headers, client=(address, 5), follow_redirects=False)


@pytest.mark.parametrize(
    ("groups", "role"),
    [("sre", "operator"), ("", "viewer"), ("staff,other", "viewer"), ("staff, leads ,sre", "approver")],
)
def test_a_listed_proxy_says_who_asks_and_in_which_groups(states: States, groups: str, role: str) -> None:
    desk = Desk(states, behind_a_proxy())
    browser = through(desk, "10.0.0.7", {"X-Forwarded-User": "mia", "X-Forwarded-Groups": groups})
    assert f"mia, {role}" in browser.get("/").text


@pytest.mark.parametrize("address", ["10.0.0.8", "127.0.0.1", "::1", "", "testclient"])
def test_what_anybody_else_says_in_those_headers_is_ignored(
    states: States, tmp_path: Path, address: str
) -> None:
    said = {"X-Forwarded-User": "mia", "X-Forwarded-Groups": "leads", "X-Forwarded-For": "10.0.0.7"}
    desk = Desk(states, behind_a_proxy())
    browser = through(desk, address, {**said, **OURS})
    assert browser.get("/").status_code == 403 and "parcels" not in browser.get("/").text
    assert browser.post("/pipelines/parcels/act/hold", data={"reason": "x"}).status_code == 403
    open_desk = Desk(states, People(password_file(tmp_path), behind_a_proxy().proxies))
    answer = through(open_desk, address, {**said, **OURS}).post(
        "/pipelines/parcels/act/hold", data={"reason": "x", "once": "0" * 32}
    )
    assert answer.status_code == 403 and "not logged in" in answer.text and not open_desk.sent + desk.sent


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Forwarded-User", "mia"), ("X-Forwarded-User", "root")],
        [("X-Forwarded-User", "mia"), ("X-Forwarded-Groups", "sre"), ("X-Forwarded-Groups", "leads")],
        [("X-Forwarded-User", " ")],
        [("X-Forwarded-User", "x" * 129)],
        [("X-Forwarded-Groups", "leads")],
        [("X_Forwarded_User", "mia"), ("X_Forwarded_Groups", "leads")],
        [("X-Remote-User", "mia")],
    ],
)
def test_a_proxy_that_lets_a_clients_own_headers_through_makes_nobody_of_him(
    states: States, headers: list[tuple[str, str]]
) -> None:
    browser = through(Desk(states, behind_a_proxy()), "10.0.0.7", {})
    assert browser.get("/", headers=headers).status_code == 403


def test_headers_names_are_a_setting_and_addresses_may_be_networks() -> None:
    proxies = Proxies.of(["10.1.0.0/16", "fd00::/8"], ["a=b=operator"], "X-User", "X-Teams")
    said = [(b"x-user", b"mia"), (b"x-teams", b"a=b"), (b"x-forwarded-user", b"root")]
    assert proxies.person("10.1.2.3", said) == Person("mia", "operator", "proxy")
    assert (
        proxies.person("::ffff:10.1.2.3", said)
        == proxies.person("fd00::5", said)
        == proxies.person("10.1.2.3", said)
    )
    assert proxies.person("10.2.0.1", said) is None
    zoe = proxies.person("10.1.2.3", [(b"x-user", "Zoë".encode())])
    assert zoe == Person("Zoë", "viewer", "proxy")
    assert proxies.person("10.1.2.3", [(b"x-user", b"Zo\xeb")]) is None
    for bad, rules in (
        (["10.0.0"], []),
        (["localhost"], []),
        (["10.0.0.1"], ["sre"]),
        (["10.0.0.1"], ["sre=root"]),
    ):
        with pytest.raises(BadRule):
            Proxies.of(bad, rules)


def test_the_address_of_who_asks_is_the_nearest_that_is_no_proxy() -> None:
    proxies = Proxies.of(["10.0.0.0/24"])
    said = [(b"x-forwarded-for", b"1.1.1.1, 2.2.2.2"), (b"x-forwarded-for", b"10.0.0.9")]
    assert proxies.asks_from("10.0.0.7", said) == "2.2.2.2", (
        "what the client wrote before that is not believed"
    )
    assert proxies.asks_from("9.9.9.9", said) == "9.9.9.9"
    assert proxies.over_tls("10.0.0.7", [(b"x-forwarded-proto", b"https")])
    assert not proxies.over_tls("10.0.1.8", [(b"x-forwarded-proto", b"https")])


# -- settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "anonymous"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "localhost"}, True),
        ({"host": "127.0.0.1", "users": True}, False),
        ({"console_proxies": ("127.0.0.1",)}, False),
        ({"host": "0.0.0.0", "users": True}, False),
        ({"host": "0.0.0.0", "console_anonymous": "yes"}, True),
        ({"console_anonymous": "yes", "users": True}, True),
        ({"console_proxies": ("10.0.0.7",), "console_anonymous": "no"}, False),
        ({"host": "0.0.0.0"}, None),
        ({"host": "10.0.0.4"}, None),
        ({"console_anonymous": "no"}, None),
        ({"console_anonymous": "perhaps"}, None),
        ({"console_proxies": ("nowhere",)}, None),
        ({"console_groups": ("sre=king",)}, None),
        ({"console_users": "missing.txt"}, None),
    ],
)
def test_everybody_looks_where_only_this_machine_can_and_nobody_was_told_to_log_in(
    given_: dict[str, Any], anonymous: bool | None, tmp_path: Path
) -> None:
    if given_.pop("users", False):
        given_["console_users"] = str(password_file(tmp_path).path)
    if anonymous is None:
        with pytest.raises(SettingError):
            people_of(Settings(**given_))
    else:
        assert people_of(Settings(**given_)).anonymous is anonymous


def test_the_settings_are_read_from_the_environment() -> None:
    found = Settings.from_env(
        {
            "PENSTOCK_CONSOLE_PROXIES": "10.0.0.7, 10.1.0.0/16",
            "PENSTOCK_CONSOLE_GROUPS": "sre=operator",
            "PENSTOCK_CONSOLE_USER_HEADER": "X-User",
        }
    )
    people = people_of(found)
    assert people.proxies.trusts("10.1.5.5") and people.proxies.user_header == "X-User" and not people.login


def test_the_server_believes_no_address_that_a_client_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn would take the address from X-Forwarded-For of whoever comes from loopback, so that anybody there is any proxy."""
    import uvicorn

    from penstock.stream.console.reading.shared import Reading
    from penstock.stream.roles import console

    class NoFollower:
        def __init__(self, names: Any, settings: Any, health: Any) -> None:
            self.reading = Reading(States(names))

        def start(self) -> NoFollower:
            return self

        def close(self) -> None:
            return

    made: list[uvicorn.Config] = []

    def serve(server: uvicorn.Server, sockets: list[Any]) -> None:
        made.append(server.config)
        for one in sockets:
            one.close()

    monkeypatch.setattr(console, "Follower", NoFollower)
    monkeypatch.setattr(uvicorn.Server, "run", serve)
    console.run_console([parcels()], Settings(console_proxies=("10.0.0.7",)))
    [config] = made
    assert config.proxy_headers is False and config.access_log is False
