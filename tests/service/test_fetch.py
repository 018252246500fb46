"""Pictures by URL: the guard against being sent into the server's own network, and the good cases beside it."""

import logging
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from outpaint_engine.errors import ImageError
from outpaint_engine.service.configuration import Configuration
from outpaint_engine.service.pictures import intake
from outpaint_engine.service.pictures.fetch import FetchLimits, fetch_image
from outpaint_engine.service.pictures.network import is_public
from outpaint_engine.service.refusals import Refusal

PUBLIC = "93.184.215.14"

NAMES = {
    "inward.example": ["10.0.0.7"],
    "loop.example": ["127.0.0.1"],
    "loop6.example": ["::1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "mixed-last.example": [PUBLIC, PUBLIC, "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nobody.example": [],
    "odd.example": ["not an address"],
    "metadata.google.internal": ["169.254.169.254"],
}


def resolve(host: str, port: int) -> list[str]:
    """The names above; else what this machine makes of a numeric host or localhost, asking no name server."""
    if host in NAMES:
        return NAMES[host]
    numeric = 0 if host.rstrip(".").endswith("localhost") else socket.AI_NUMERICHOST
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, flags=numeric, type=socket.SOCK_STREAM)]


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A socket that listens on every local address and has had no connection yet."""
    if socket.has_dualstack_ipv6():
        listening = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listening = socket.create_server(("", 0))
    listening.setblocking(False)
    with listening:
        yield listening


def port_of(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


def was_reached(listening: socket.socket) -> bool:
    try:
        connection, _ = listening.accept()
    except BlockingIOError:
        return False
    connection.close()
    return True


LOOPBACK_SPELLINGS = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.255.255.254:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0X7F.0x0.0x0.0x1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0177.0x0.0.1:{port}/",
    "http://00000000177.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://loop.example:{port}/",
    "http://127。0。0。1:{port}/",
    "http://１２７.0.0.1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
]

HOSTILE = [
    *LOOPBACK_SPELLINGS,
    "http://localhost.:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://sub.localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[2001:0:7f00:1::]:{port}/",
    "http://[fe80::5efe:127.0.0.1]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[fe80::1%lo]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://[fec0::1]:{port}/",
    "http://[fd00:ec2::254]:{port}/latest/meta-data/",
    "http://[ff02::1]:{port}/",
    "http://[v1.a:b]:{port}/",
    "http://[127.0.0.1]:{port}/",
    "http://[::1:{port}/",
    "http://169.254.169.254/latest/meta-data/iam/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://168.63.129.16/machine",
    "http://192.0.0.192/latest/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://224.0.1.1/",
    "http://255.255.255.255/",
    "http://198.18.0.1/",
    "http://192.0.2.1/",
    "http://240.0.0.1/",
    "http://inward.example/",
    "http://loop6.example:{port}/",
    "http://mixed.example:{port}/",
    "http://mixed-last.example:{port}/",
    "http://mapped.example:{port}/",
    "http://nobody.example/",
    "http://odd.example/",
    "http://user@127.0.0.1:{port}/",
    "http://user:secret@loop.example:{port}/",
    "http://pictures.example@127.0.0.1:{port}/",
    "http://@127.0.0.1:{port}/",
    "http://pictures.example%40127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@pictures.example/",
    "http://pictures.example\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:///127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "http://",
    "http://:{port}/",
    "http://.:{port}/",
    "http://a..b:{port}/",
    "http://127.0.0.1:{port}/\r\nX-Evil: 1",
    "http://127.0.0.1\r\n:{port}/",
    "http://127.0.0.1:{port}/\tx",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1 :{port}/",
    "http://127.0.0.1:{port}\x00.pictures.example/",
    "http://127.0.0.1:22/",
    "http://127.0.0.1:6379/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:-1/",
    "http://127.0.0.1:８０/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 200 + "example/",
    "http://pictures.example/" + "a" * 9000,
    "file:///etc/passwd",
    "file://127.0.0.1:{port}/etc/passwd",
    "gopher://127.0.0.1:{port}/_GET",
    "ftp://127.0.0.1:{port}/x.png",
    "dict://127.0.0.1:{port}/info",
    "ldap://127.0.0.1:{port}/",
    "ws://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "jar:http://127.0.0.1:{port}/!x",
    "javascript:fetch('http://127.0.0.1:{port}/')",
    "data:image/png;base64,iVBORw0KGgo=",
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_is_refused_before_any_connection(url: str, trap: socket.socket) -> None:
    port = port_of(trap)
    with pytest.raises(ImageError) as refusal:
        fetch_image(
            url.format(port=port), FetchLimits(max_seconds=5, ports=frozenset({80, 443, port})), resolve=resolve
        )
    assert not was_reached(trap)
    sentence = str(refusal.value)
    assert sentence.startswith("image") and sentence.endswith(".")
    assert not any(word in sentence for word in ("127.0", "::1", "10.0.", "169.254", "example/", "secret"))


@pytest.mark.parametrize("url", LOOPBACK_SPELLINGS)
def test_without_the_check_the_same_spelling_does_reach_this_machine(url: str, trap: socket.socket) -> None:
    port = port_of(trap)
    limits = FetchLimits(max_seconds=0.1, ports=frozenset({port}))
    with pytest.raises(ImageError):
        fetch_image(url.format(port=port), limits, resolve=resolve, allowed=lambda address: True)
    assert was_reached(trap)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.10", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.5.4", "192.168.0.1", "169.254.169.254"),
        *("100.64.0.1", "100.127.255.255", "168.63.129.16", "192.0.0.192", "192.0.0.9", "192.0.2.9", "192.88.99.1"),
        *("198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "224.0.1.1", "239.255.255.255"),
        *("240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:10.0.0.1"),
        *("::ffff:0:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),
        *("100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:10::1", "2001:20::1"),
        *("2001:db8::1", "2002:808:808::1", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254"),
        *("fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "2606:4700::5efe:10.0.0.1"),
        *("2606:4700::200:5efe:10.0.0.1", "2606:4700::1111%eth0", "4000::1", "", "localhost", "0x7f000001", "127.1"),
    ],
)
def test_an_address_that_is_no_plain_public_one_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::8.8.8.8"],
)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(address)


Reply = Callable[[bytes, socket.socket], None]


@contextmanager
def web(reply: Reply) -> Iterator[int]:
    """A web server on 127.0.0.1 that hands the first bytes of each connection and its socket to `reply`; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                reply(self.request.recv(65536), self.request)
            except OSError:  # the client hung up, as it should
                return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def says(*parts: bytes) -> Reply:
    def reply(request: bytes, connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return reply


def ok(body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def moved(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


def fetch(url: str, *ports: int, max_bytes: int = 1000, max_seconds: float = 5.0) -> bytes:
    """Fetch as if 127.0.0.1, and no other address of this machine, were a public one."""
    limits = FetchLimits(max_bytes, max_seconds, ports=frozenset(ports))
    names = {**NAMES, "pictures.example": ["127.0.0.1"]}
    return fetch_image(
        url,
        limits,
        resolve=lambda host, port: names.get(host) or resolve(host, port),
        allowed=lambda address: address == "127.0.0.1" or is_public(address),
    )


def test_a_picture_is_fetched_with_its_own_host_name_and_nothing_of_ours() -> None:
    asked: list[bytes] = []

    def reply(request: bytes, connection: socket.socket) -> None:
        asked.append(request)
        connection.sendall(ok(b"picture"))

    with web(reply) as port:
        assert fetch(f"http://Pictures.example:{port}/a b.png?q=ü".replace(" ", "%20"), port) == b"picture"
    lines = asked[0].decode("ascii").split("\r\n")
    assert lines[0] == "GET /a%20b.png?q=%C3%BC HTTP/1.1"
    assert f"Host: pictures.example:{port}" in lines
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in lines)


def test_the_name_in_the_tls_greeting_is_the_url_host() -> None:
    greetings: list[bytes] = []
    with web(lambda request, connection: greetings.append(request)) as port, pytest.raises(ImageError):
        fetch(f"https://pictures.example:{port}/", port)
    assert b"pictures.example" in greetings[0]


def test_a_certificate_that_nobody_vouches_for_is_no_picture() -> None:
    with (
        web(says(ok(b"no TLS"))) as port,
        pytest.raises(ImageError, match="does not answer"),
    ):
        fetch(f"https://pictures.example:{port}/", port)


def test_a_body_of_unknown_length_is_read_to_its_end() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npic\r\n4\r\nture\r\n0\r\n\r\n"
    with web(says(chunked)) as port:
        assert fetch(f"http://pictures.example:{port}/", port) == b"picture"


def test_a_redirect_to_another_public_host_is_followed() -> None:
    with web(says(ok(b"picture"))) as second, web(says(moved(f"http://pictures.example:{second}/x"))) as first:
        assert fetch(f"http://pictures.example:{first}/", first, second) == b"picture"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.2:{trap}/",
        "http://[::1]:{trap}/",
        "//127.0.0.2:{trap}/",
        "http://2130706434:{trap}/",
        "http://loop6.example:{trap}/",
        "http://user:pw@127.0.0.1:{trap}/",
        "http://169.254.169.254/latest/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{trap}/",
        "http://127.0.0.1:22/",
        "data:image/png;base64,AA==",
    ],
)
def test_a_redirect_is_checked_like_the_first_url(status: int, target: str, trap: socket.socket) -> None:
    answer = moved(target.format(trap=port_of(trap))).replace(b"302", str(status).encode())
    with web(says(answer)) as port, pytest.raises(ImageError):
        fetch(f"http://pictures.example:{port}/", port, port_of(trap), 80)
    assert not was_reached(trap)


def test_the_fourth_redirect_is_not_followed() -> None:
    visits: list[bytes] = []

    def reply(request: bytes, connection: socket.socket) -> None:
        visits.append(request)
        connection.sendall(moved("/again"))

    with web(reply) as port, pytest.raises(ImageError, match="redirects more than 3 times"):
        fetch(f"http://pictures.example:{port}/", port)
    assert len(visits) == 1 + 3


def test_a_name_that_changes_between_look_ups_is_looked_up_once(trap: socket.socket) -> None:
    answers = iter([["127.0.0.1"], ["::1"], ["::1"]])
    with web(says(ok(b"picture"))) as port:
        body = fetch_image(
            f"http://rebinding.example:{port}/",
            FetchLimits(ports=frozenset({port})),
            resolve=lambda host, port: next(answers),
            allowed=lambda address: address == "127.0.0.1",
        )
    assert body == b"picture"
    assert next(answers) == ["::1"]


def test_a_name_that_turns_inward_before_the_redirect_is_refused() -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with web(says(redirect)) as port, pytest.raises(ImageError, match="not public"):
        fetch_image(
            f"http://rebinding.example:{port}/",
            FetchLimits(ports=frozenset({port})),
            resolve=lambda host, port: next(answers),
            allowed=lambda address: address == "127.0.0.1",
        )


@pytest.mark.parametrize("host", ["nobody.example", "inward.example"])
def test_a_name_that_leads_inward_reads_like_one_that_does_not_exist(host: str) -> None:
    with pytest.raises(ImageError, match="unknown or not public"):
        fetch_image(f"http://{host}/", resolve=resolve)


def drip(*parts: bytes) -> Reply:
    """Send the parts, then one more byte of the last one every 20 ms for as long as the client listens."""

    def reply(request: bytes, connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
        while True:
            connection.sendall(parts[-1][-1:])
            time.sleep(0.02)

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nx"), id="body"),
        pytest.param(drip(b"HTTP/1.1 200 OK\r\nX-Long: a"), id="headers"),
        pytest.param(drip(b"H"), id="status line"),
        pytest.param(lambda request, connection: time.sleep(0.6), id="silence"),
    ],
)
def test_a_slow_answer_is_cut_off_at_the_time_limit(reply: Reply) -> None:
    with web(reply) as port:
        began = time.monotonic()
        with pytest.raises(ImageError, match=r"within 0\.3 seconds|does not answer"):
            fetch(f"http://pictures.example:{port}/", port, max_seconds=0.3)
        assert time.monotonic() - began < 0.6


def test_a_resolver_that_hangs_is_left_at_the_time_limit() -> None:
    woken = threading.Event()

    def hang(host: str, port: int) -> list[str]:
        woken.wait(5)
        return []

    with pytest.raises(ImageError, match=r"within 0\.2 seconds"):
        fetch_image("http://slow.example/", FetchLimits(max_seconds=0.2), resolve=hang)
    woken.set()


def endless(request: bytes, connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"400\r\n" + bytes(1024) + b"\r\n")


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (endless, "larger than 1,000 bytes"),
        (says(ok(bytes(1001))), "larger than 1,000 bytes"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1001)), "larger than 1,000 bytes"),
        (says(ok(b"\x1f\x8b", b"Content-Encoding: gzip")), "compressed"),
        (says(ok(b"x", b"Content-Encoding: br")), "compressed"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nshort"), "does not answer"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "does not answer"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "does not answer"),
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000), "does not answer"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not answer"),
        (says(b""), "does not answer"),
        (says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "answered 404"),
        (says(b"HTTP/1.1 206 Partial\r\nContent-Length: 0\r\n\r\n"), "answered 206"),
        (says(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), "answered 302"),
        (says(moved("http://[half")), "not one that can be read"),
    ],
)
def test_an_answer_that_is_no_picture_within_limits_is_one_sentence(reply: Reply, sentence: str) -> None:
    with web(reply) as port, pytest.raises(ImageError, match=sentence):
        fetch(f"http://pictures.example:{port}/", port)


def test_a_content_length_that_lies_gives_no_more_than_it_says() -> None:
    with web(says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\npicture")) as port:
        assert fetch(f"http://pictures.example:{port}/", port) == b"pic"


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, trap: socket.socket) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port_of(trap)}")
    with web(says(ok(b"picture"))) as port:
        assert fetch(f"http://pictures.example:{port}/", port) == b"picture"
    assert not was_reached(trap)


def test_the_query_of_a_url_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with web(says(ok(b"picture"))) as port:
        fetch(f"http://pictures.example:{port}/x?signature=hunter2", port)
    assert "hunter2" not in caplog.text


BY_URL = Configuration(url_images=True)


def test_a_request_with_a_hostile_url_is_refused_in_one_sentence_about_the_image() -> None:
    with pytest.raises(Refusal, match="image's URL leads to a host that is unknown or not public") as refusal:
        intake.picture_from("http://169.254.169.254/latest/", BY_URL)
    assert refusal.value.status == 406


def test_what_is_behind_a_url_is_checked_like_a_picture_that_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "fetch_image", lambda url, limits: b"<html>not a picture</html>")
    with pytest.raises(Refusal, match="image must be a picture"):
        intake.picture_from("https://pictures.example/x.png", BY_URL)


def test_pictures_by_url_can_be_switched_off() -> None:
    with pytest.raises(Refusal, match="takes no pictures by URL"):
        intake.picture_from("https://pictures.example/x.png", Configuration(url_images=False))
